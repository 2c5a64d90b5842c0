package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"syscall"

	"gopm/cluster"
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
//	gopm probe [wait]          tries what the kernel can do, for gopm doctor
//	gopm listen-exec …         becomes a program that is given sockets
//	gopm bound-exec …          becomes a program that is held to limits
const (
	keeperWord  = "keeper"
	daemonWord  = "daemon"
	handshakeFD = 3
	linkFD      = 4
	exitNotRun  = 127 // as a shell's
)

// runHidden runs one of them if args say so and the descriptors are there.
func runHidden(args []string, out, errOut io.Writer) (code int, ours bool) {
	if len(args) == 2 && args[1] == daemon.HelloWord {
		fmt.Fprint(out, daemon.Hello(version))
		return exitOK, true
	}
	if len(args) > 1 && args[1] == daemon.ListenWord {
		fmt.Fprintln(errOut, "gopm:", daemon.RunGiven(args[2:]))
		return exitNotRun, true
	}
	if len(args) == 2 && args[1] == probeWord {
		return runProbe(func(child int) any { return cluster.Features(child) }, out), true
	}
	if len(args) == 3 && args[1] == probeWord && args[2] == probeWait {
		_, _ = io.Copy(io.Discard, os.Stdin) // until its parent has seen enough, or is gone
		return exitOK, true
	}
	if len(args) > 1 && args[1] == daemon.BoundWord {
		fmt.Fprintln(errOut, "gopm:", daemon.BecomeBound(args[2:]))
		return exitNotRun, true
	}
	if len(args) < 2 || args[1] != keeperWord && args[1] != daemonWord {
		return 0, false
	}
	settings := os.Getenv(api.RuntimeVariable)
	again := len(args) > 3 && args[1] == keeperWord // it has nobody to shake hands with
	if len(args) < 3 || !again && !isHandshake(handshakeFD) && settings == "" {
		fmt.Fprintf(errOut, "gopm: %q is started by gopm itself; gopm start does it when needed\n", args[1])
		return exitUsage, true
	}
	var handshake *os.File
	if !again {
		handshake = os.NewFile(handshakeFD, "handshake")
	}
	daemon.LowerOOMScore()
	if args[1] == keeperWord {
		o := keeper.Options{
			Home: args[2], Lock: api.Home{Dir: args[2]}.KeeperLock(), Log: api.Home{Dir: args[2]}.Log(), Mode: args[3:],
			Daemon: []string{args[0], daemonWord, args[2]}, Environ: os.Environ(), Handshake: handshake,
		}
		if settings != "" {
			var r api.Runtime
			_ = json.Unmarshal([]byte(settings), &r) // the daemon tells of an error
			o.Log, o.Foreground = "", r.Words
		}
		return keeper.Serve(o), true
	}
	return runDaemon(args[2], handshake, settings, errOut), true
}

func runDaemon(home string, handshake *os.File, settings string, errOut io.Writer) int {
	syscall.CloseOnExec(handshakeFD)
	_ = os.WriteFile("/proc/self/comm", []byte("gopm-daemon"), 0) // for ps and top; "exe" otherwise
	link, estate, err := keeper.Attach(linkFD)
	if err != nil {
		fmt.Fprintf(handshake, "cannot talk to the keeper: %v\n", err)
		return exitFailed
	}
	cfg := daemon.Config{
		Home: api.Home{Dir: home}, Version: version, Binary: os.Getenv(binaryVariable),
		Ready: handshake, Keeper: link, Estate: estate, Metrics: os.Getenv(metricsVariable),
	}
	if settings != "" {
		cfg.Ready, cfg.Order, cfg.Runtime = nil, handshake, &api.Runtime{}
		if err := json.Unmarshal([]byte(settings), cfg.Runtime); err != nil {
			fmt.Fprintf(errOut, "gopm: %s: %v\n", api.RuntimeVariable, err)
			return exitFailed
		}
	}
	code, err := daemon.Run(cfg)
	if err != nil {
		fmt.Fprintln(errOut, "daemon:", err)
		return exitFailed
	}
	return code
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
