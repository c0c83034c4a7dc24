# Says in one line who listens on the app's port: `ours`, `nobody`, or `other PID`.
tl_pids=$(tl_tree)
tl_listeners | awk -v port="$tl_port" '
    $2 == port && $4 == "yes" { ours = 1 }
    $2 == port && $4 == "no" { other = $3 }
    END { print ours ? "ours" : other != "" ? "other " other : "nobody" }'
