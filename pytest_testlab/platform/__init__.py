"""The procfile platform: a build, a supervised process, an nginx vhost."""
