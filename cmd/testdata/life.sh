#!/bin/sh
# Life is the program of the apps, and their hooks, in the chaos of what apps wait for: life.sh WHAT.
# What must never be is noted in the file "wrong".
wrong() { echo "$(date +%s%N) $*" >>wrong; }

lives() { [ -n "$1" ] && [ -r "/proc/$1/stat" ] && ! grep -q ') [ZX]' "/proc/$1/stat" 2>/dev/null; }

# pid is who did something last.
pid() { cat "$1.pid" 2>/dev/null; }

# alone fails if another does the same now.
alone() {
	old=$(pid "$1")
	[ "$old" != $$ ] && lives "$old" && wrong "$1 is done by $old and by $$"
	echo $$ >"$1.pid"
}

serve() {
	sleep 1000 &
	wait
}

trap 'exit 0' TERM INT
case $1 in
db)
	alone db
	rm -f db.ready
	trap 'rm -f db.ready; exit 0' TERM INT
	sleep 0.2
	: >db.ready
	echo ready
	serve
	;;
api)
	alone api
	[ -e db.ready ] || wrong "api was started before db was ready"
	serve
	;;
web)
	alone web
	lives "$(pid api)" || wrong "web was started before api"
	serve
	;;
job)
	alone "$2"
	date +%s%N >>"$2.runs"
	sleep "$3"
	;;
pre_start)
	alone pre_start
	lives "$(pid hooked)" && wrong "pre_start is run while the program runs"
	sleep 0.3
	;;
pre_stop)
	alone pre_stop
	sleep 0.2
	;;
hooked)
	alone hooked
	lives "$(pid pre_start)" && wrong "hooked was started during its pre_start"
	serve
	;;
idle)
	[ -e idle.stopped ] && wrong "idle was stopped, and runs"
	serve
	;;
stuck)
	wrong "stuck was started though never is not ready"
	;;
*)
	alone "$1"
	serve
	;;
esac
