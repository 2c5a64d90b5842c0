#!/bin/sh
# Life is the program of the apps, and their hooks, in the chaos of what apps wait for: life.sh WHAT.
# What must never be is noted in the file "wrong".
wrong() { echo "$(date +%s%N) $*" >>wrong; }

# lives looks once: who has ended may be reaped from one look to the next.
lives() {
	[ -n "$1" ] || return 1
	case $(cat "/proc/$1/stat" 2>/dev/null) in
	'' | *') Z '* | *') X '*) return 1 ;;
	esac
}

# pid is who did something last.
pid() { cat "$1.pid" 2>/dev/null; }

# alone fails if another does the same now.
alone() {
	old=$(pid "$1")
	[ "$old" != $$ ] && lives "$old" && wrong "$1 is done by $old and by $$"
	echo $$ >"$1.pid"
}

# ended notes when something has ended, in the kernel's ticks since its boot, and endedSince says whether that was
# after this process began: what it finds now isn't what was there then.
ended() { cut -d' ' -f1 /proc/uptime | tr -d . >"$1.$$" && mv "$1.$$" "$1.ended"; }

endedSince() { [ "$(cat "$1.ended" 2>/dev/null || echo 0)" -ge "$(sed 's/.*) //' /proc/$$/stat | cut -d' ' -f20)" ]; }

serve() {
	sleep 1000 &
	wait
}

trap 'exit 0' TERM INT
case $1 in
db)
	alone db
	rm -f db.ready
	trap 'ended db; rm -f db.ready; exit 0' TERM INT
	sleep 0.2
	: >db.ready
	echo ready
	serve
	;;
api)
	alone api
	trap 'ended api; exit 0' TERM INT
	[ -e db.ready ] || endedSince db || wrong "api was started before db was ready"
	echo ready
	serve
	;;
web)
	alone web
	lives "$(pid api)" || endedSince api || wrong "web was started before api"
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
