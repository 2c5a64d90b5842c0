package cmd

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"gopm/daemon"
	"gopm/daemon/api"
	"gopm/daemon/keeper"
)

// The two processes of a running gopm are this binary again, entered before
// anything of the command line is set up:
//
//	gopm keeper HOME [MODE]    descriptor 3: the starter's handshake, or /dev/null
//	gopm daemon HOME           descriptor 3: the same, 4: the link to the keeper
//	gopm hello                 what this binary can go on with, asked before an update
const (
	keeperWord  = "keeper"
	daemonWord  = "daemon"
	handshakeFD = 3
	linkFD      = 4
)

// runHidden runs one of them if args say so and the descriptors are there.
func runHidden(args []string, out, errOut io.Writer) (code int, ours bool) {
	if len(args) == 2 && args[1] == daemon.HelloWord {
		fmt.Fprint(out, daemon.Hello(version))
		return exitOK, true
	}
	if len(args) < 2 || args[1] != keeperWord && args[1] != daemonWord {
		return 0, false
	}
	again := len(args) > 3 && args[1] == keeperWord // it has nobody to shake hands with
	if len(args) < 3 || !again && !isHandshake(handshakeFD) {
		fmt.Fprintf(errOut, "gopm: %q is started by gopm itself; gopm start does it when needed\n", args[1])
		return exitUsage, true
	}
	var handshake *os.File
	if !again {
		handshake = os.NewFile(handshakeFD, "handshake")
	}
	daemon.LowerOOMScore()
	if args[1] == keeperWord {
		return keeper.Serve(keeper.Options{
			Home: args[2], Lock: api.Home{Dir: args[2]}.KeeperLock(), Log: api.Home{Dir: args[2]}.Log(), Mode: args[3:],
			Daemon: []string{args[0], daemonWord, args[2]}, Environ: os.Environ(), Handshake: handshake,
		}), true
	}
	return runDaemon(args[2], handshake, errOut), true
}

func runDaemon(home string, handshake *os.File, errOut io.Writer) int {
	syscall.CloseOnExec(handshakeFD)
	_ = os.WriteFile("/proc/self/comm", []byte("gopm-daemon"), 0) // for ps and top; "exe" otherwise
	link, estate, err := keeper.Attach(linkFD)
	if err != nil {
		fmt.Fprintf(handshake, "cannot talk to the keeper: %v\n", err)
		return exitFailed
	}
	err = daemon.Run(daemon.Config{
		Home: api.Home{Dir: home}, Version: version, Binary: os.Getenv(binaryVariable),
		Ready: handshake, Keeper: link, Estate: estate,
	})
	if err != nil {
		fmt.Fprintln(errOut, "daemon:", err)
		return exitFailed
	}
	return exitOK
}

// isHandshake says that a descriptor is a pipe, or /dev/null where nobody waits.
func isHandshake(fd int) bool {
	var st, null syscall.Stat_t
	return isPipe(fd) || syscall.Fstat(fd, &st) == nil && syscall.Stat(os.DevNull, &null) == nil && st.Rdev == null.Rdev
}

func isPipe(fd int) bool {
	var st syscall.Stat_t
	return syscall.Fstat(fd, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFIFO
}
