# Says in one line how the app ended, if the supervisor starts it no more and nothing of the deploy runs; else nothing.
tl_read "$tl_state/state" absent
if [ "$tl_value" = exited ] && [ -z "$(tl_tree)" ]; then
    tl_read "$tl_state/exit" unknown; tl_exit=$tl_value
    tl_read "$tl_state/starts" 0
    printf 'exit code %s, started %s times\n' "$tl_exit" "$tl_value"
fi
