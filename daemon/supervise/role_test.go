package supervise

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The test binary is also the program that the tests supervise: what it does is
// in the environment variable SUPERVISE_ROLE.

const roleKey = "SUPERVISE_ROLE="

func TestMain(m *testing.M) {
	if role := os.Getenv(strings.TrimSuffix(roleKey, "=")); role != "" {
		os.Exit(play(role))
	}
	if len(os.Args) > 1 && os.Args[1] == BoundWord {
		fmt.Println(BecomeBound(os.Args[2:]))
		os.Exit(1)
	}
	// The test process plays the keeper: orphans of the children fall to it.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Println("cannot become a subreaper:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func play(role string) int {
	switch role {
	case "idle":
	case "stubborn":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	case "listen": // fails when the address is taken
		l, err := net.Listen("unix", os.Getenv("ADDRESS"))
		if err != nil {
			fmt.Println("cannot listen:", err)
			return 9
		}
		defer l.Close()
		signal.Ignore(syscall.SIGTERM) // a leftover that has to be killed
	case "parent": // leaves a listener in its group
		return parent("listen", &syscall.SysProcAttr{})
	case "holder": // leaves a child that holds stdout
		parent("stubborn", &syscall.SysProcAttr{})
		return 0
	case "escaper": // leaves a listener in a session of its own, whose parent is dead
		return parent("middle", &syscall.SysProcAttr{Setsid: true})
	case "middle":
		parent("listen", &syscall.SysProcAttr{})
		return 0
	case "mover": // leaves its group as a shell with job control may
		group, err := unix.Getpgid(unix.Getppid())
		if err == nil {
			err = unix.Setpgid(0, group)
		}
		if err != nil {
			fmt.Println("cannot move:", err)
			return 1
		}
	case "daemon":
		return playDaemon()
	case "surroundings":
		surroundings()
	default:
		return 64
	}
	fmt.Println("ready", os.Getpid())
	select {} // ended by a signal
}

// parent starts the next role and passes on its first line, which names its pid.
func parent(role string, attr *syscall.SysProcAttr) int {
	r, w, err := os.Pipe()
	if err != nil {
		return 1
	}
	env := []string{roleKey + role}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, roleKey) {
			env = append(env, e)
		}
	}
	exe, _ := os.Executable()
	_, err = syscall.ForkExec(exe, []string{exe}, &syscall.ProcAttr{Env: env, Files: []uintptr{0, w.Fd(), 1}, Sys: attr})
	if err != nil {
		fmt.Println("cannot start:", err)
		return 1
	}
	w.Close()
	line, _ := bufio.NewReader(r).ReadString('\n')
	fmt.Print(line)
	if role == "middle" || role == "listen" && os.Getenv("STAY") != "" {
		select {} // ended by a signal
	}
	return 0
}

func surroundings() {
	mask := unix.Umask(0)
	dir, _ := os.Getwd()
	fmt.Printf("umask %04o\ncwd %s\nown group %v\n", mask, dir, unix.Getpgrp() == os.Getpid())
	in, _ := os.Readlink("/proc/self/fd/0")
	fmt.Printf("stdin %s\nenv %d\n", in, len(os.Environ()))
	for fd := 3; fd < 64; fd++ {
		name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		own := strings.HasPrefix(name, "anon_inode:[event") || strings.HasPrefix(name, "/sys/fs/cgroup") // Go's
		if err == nil && !own {
			fmt.Printf("inherited %d %s\n", fd, name)
		}
	}
}
