package cmd

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
)

// otherDaemons are the gopm daemons of other users: an empty list is often the
// list of the wrong user (sudo).
func otherDaemons(self int) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		args := strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
		if len(args) != 3 || args[0] != "gopm" || args[1] != daemonWord {
			continue
		}
		info, err := os.Stat(filepath.Dir(file))
		if err != nil {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != self {
			found = append(found, fmt.Sprintf("user %s, home %s", userName(st.Uid), args[2]))
		}
	}
	return found
}

// userName is the name of a user id, as far as /etc/passwd knows it.
func userName(uid uint32) string {
	if u, err := user.LookupId(fmt.Sprint(uid)); err == nil {
		return u.Username
	}
	return fmt.Sprint(uid)
}
