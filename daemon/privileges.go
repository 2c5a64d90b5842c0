package daemon

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"gopm/daemon/api"
)

// An ordinary user's gopm has to set no_new_privs for clustered programs: then setuid
// bits and file capabilities of what they execute have no effect. Who starts a program
// that has some is told so.

// privilegeWarnings are for the apps that are about to be started.
func privilegeWarnings(stages []stage) (warnings []string) {
	if mayFilterFreely() {
		return nil
	}
	for _, st := range stages {
		if !isClustered(st.want) || st.did == api.DidNothing || st.did == api.IsNotStarted {
			continue
		}
		path := executor(st.want.Command.Argv()[0])
		if what := privilegesOf(path); what != "" {
			warnings = append(warnings, fmt.Sprintf(
				`%s: %s has %s, without effect in cluster mode, for an ordinary user's gopm has to set no_new_privs: set "exec_mode": "fork", or run gopm as root`,
				st.want.Name, path, what))
		}
	}
	return warnings
}

// mayFilterFreely says whether we can watch system calls without no_new_privs.
func mayFilterFreely() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	return err == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// executor is the file whose privileges a program has: its own, or those of what its
// first line names.
func executor(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return path // it can be executed all the same
	}
	defer f.Close()
	const longest = 256 // that the kernel reads
	line, _ := bufio.NewReader(io.LimitReader(f, longest)).ReadString('\n')
	rest, is := strings.CutPrefix(line, "#!")
	if fields := strings.Fields(rest); is && len(fields) > 0 {
		return fields[0]
	}
	return path
}

// privilegesOf is what a file gives to who executes it; "": nothing.
func privilegesOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	var found []string
	if info.Mode()&os.ModeSetuid != 0 {
		found = append(found, "the setuid bit")
	}
	if info.Mode()&os.ModeSetgid != 0 {
		found = append(found, "the setgid bit")
	}
	if n, err := unix.Getxattr(path, "security.capability", make([]byte, 64)); err == nil && n > 0 {
		found = append(found, "file capabilities")
	}
	return strings.Join(found, " and ")
}
