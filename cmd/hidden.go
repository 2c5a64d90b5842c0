package cmd

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"gopm/daemon"
	"gopm/daemon/api"
	"gopm/daemon/parent"
)

// The two processes of a running gopm are this binary again, entered before
// anything of the command line is set up:
//
//	gopm keeper HOME    descriptor 3: the starter's handshake
//	gopm daemon HOME    descriptor 3: the same, 4: the link to the keeper
const (
	keeperWord  = "keeper"
	daemonWord  = "daemon"
	handshakeFD = 3
	linkFD      = 4
)

// runHidden runs one of them if args say so and the descriptors are there.
func runHidden(args []string, errOut io.Writer) (code int, ours bool) {
	if len(args) < 2 || args[1] != keeperWord && args[1] != daemonWord {
		return 0, false
	}
	if len(args) != 3 || !isPipe(handshakeFD) {
		fmt.Fprintf(errOut, "gopm: %q is started by gopm itself; gopm start does it when needed\n", args[1])
		return exitUsage, true
	}
	handshake := os.NewFile(handshakeFD, "handshake")
	daemon.LowerOOMScore()
	if args[1] == keeperWord {
		return parent.Run([]string{args[0], daemonWord, args[2]}, os.Environ(), []*os.File{handshake}), true
	}
	return runDaemon(args[2], handshake, errOut), true
}

func runDaemon(home string, handshake *os.File, errOut io.Writer) int {
	syscall.CloseOnExec(handshakeFD)
	_ = os.WriteFile("/proc/self/comm", []byte("gopm-daemon"), 0) // for ps and top; "exe" otherwise
	link, err := parent.Connect(linkFD)
	if err != nil {
		fmt.Fprintf(handshake, "cannot talk to the keeper: %v\n", err)
		return exitFailed
	}
	err = daemon.Run(daemon.Config{Home: api.Home{Dir: home}, Version: version, Ready: handshake, Keeper: link})
	if err != nil {
		fmt.Fprintln(errOut, "daemon:", err)
		return exitFailed
	}
	return exitOK
}

func isPipe(fd int) bool {
	var st syscall.Stat_t
	return syscall.Fstat(fd, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFIFO
}
