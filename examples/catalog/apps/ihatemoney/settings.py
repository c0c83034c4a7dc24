"""The settings of I Hate Money: a database in the app's folder, and no HTTPS of its own."""

import os

SQLALCHEMY_DATABASE_URI = "sqlite:///" + os.path.abspath("budget.db")
SQLALCHEMY_TRACK_MODIFICATIONS = False
SECRET_KEY = os.environ["SECRET_KEY"]
SESSION_COOKIE_SECURE = False
ACTIVATE_DEMO_PROJECT = False
ALLOW_PUBLIC_PROJECT_CREATION = True
