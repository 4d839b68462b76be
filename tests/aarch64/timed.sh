# For the scripts that run inside the emulated tree: a step with the seconds that it took.
timed() {
    what=$1
    shift
    began=$(date +%s)
    "$@"
    echo "--- $what: $(($(date +%s) - began)) s"
}
