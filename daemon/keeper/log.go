package keeper

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func (k *keeper) logf(format string, args ...any) {
	line := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")
	if form := k.opts.Foreground; form != nil {
		line = form(time.Now(), "keeper: "+line)
		room := []unix.PollFd{{Fd: 2, Events: unix.POLLOUT}} // nobody may keep us waiting by not reading it
		if n, err := unix.Poll(room, 0); n == 1 && err == nil {
			fmt.Fprint(k.log, line)
		}
		return
	}
	k.followLog()
	now := time.Now().Format("2006-01-02T15:04:05.000Z07:00")
	fmt.Fprintf(k.log, "%s keeper: %s\n", now, line)
}

// followLog has stdout and stderr, the next daemon's included, go to the log file of
// today: daemons rotate it by renaming, and a keeper outlives many of them. What is
// not a file (a terminal, the journal) stays as it is.
func (k *keeper) followLog() {
	if k.opts.Log == "" {
		return
	}
	var now, named unix.Stat_t
	if unix.Fstat(2, &now) != nil || now.Mode&unix.S_IFMT != unix.S_IFREG {
		return
	}
	if unix.Stat(k.opts.Log, &named) == nil && named.Dev == now.Dev && named.Ino == now.Ino {
		return
	}
	f, err := os.OpenFile(k.opts.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return // the old one still takes what we say
	}
	defer f.Close()
	for _, fd := range []int{1, 2} {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Dev == now.Dev && st.Ino == now.Ino {
			_ = unix.Dup3(int(f.Fd()), fd, 0)
		}
	}
}
