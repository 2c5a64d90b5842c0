package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a program is held to from its first instruction on: resource limits, a priority,
// no_new_privs, a cgroup. A limit and a cgroup belong to a process as a whole, so that
// nobody but the process itself can take them on before the program begins, and some of it
// takes the rights of root, which the program may not have any more. So such programs are
// started through this binary, which binds itself, becomes the app's user, and then the
// program:
//
//	gopm bound-exec ORDER PROGRAM ARGS...
//
// What it could not do it tells through a pipe, which the program doesn't get.

// BoundWord is that command.
const BoundWord = "bound-exec"

// Bounds are what a Command's program is held to.
type Bounds struct {
	Rlimits    []Rlimit `json:"rlimits,omitempty"`
	Nice       *int     `json:"nice,omitempty"` // nil: ours
	NoNewPrivs bool     `json:"no_new_privs,omitempty"`
}

// Rlimit is one limit; Name is for messages.
type Rlimit struct {
	Name     string `json:"name"`
	Resource int    `json:"resource"`
	Soft     uint64 `json:"soft"`
	Hard     uint64 `json:"hard"`
}

// boundOrder is what is passed on the command line.
type boundOrder struct {
	Bounds
	Groups []string    `json:"groups,omitempty"` // files that take the process's number
	User   *Credential `json:"user,omitempty"`   // nil: who it is
	Dir    string      `json:"dir,omitempty"`    // to be entered as that user, too
	Report int         `json:"report"`           // the pipe's descriptor
}

// boundFault is what could not be done: a sentence, or the kernel's number for what a
// spawn without bounds fails by as well.
type boundFault struct {
	Text  string        `json:"text,omitempty"`
	Errno syscall.Errno `json:"errno,omitempty"`
}

func (f boundFault) Error() string { return f.Text }

// boundWait is the most that a process takes to become the program. It takes 3 ms; a
// machine that is overloaded takes longer, and one that takes so long is stuck.
const boundWait = 30 * time.Second

// bound starts a program that is held to something, and waits until it has begun.
func (s *spawner) bound(c Command, l Launch, others int) (pid int, e error) {
	report, w, e := os.Pipe()
	if e != nil {
		return 0, e
	}
	defer report.Close()
	defer w.Close()
	o := boundOrder{Groups: l.Groups, Report: 3 + len(l.Inherit), Dir: c.Dir}
	if c.Bounds != nil {
		o.Bounds = *c.Bounds
	}
	if c.User != nil && !isSelf(c.User) {
		o.User = c.User
	}
	text, _ := json.Marshal(o) // texts and numbers always marshal
	outer, inner := c, l
	outer.Argv = append([]string{"/proc/self/exe", BoundWord, string(text)}, c.Argv...)
	outer.Bounds, outer.User = nil, nil
	inner.Inherit, inner.Groups = append(slices.Clone(l.Inherit), w), nil
	if pid, e = s.spawn(outer, inner, others); e != nil {
		return 0, e
	}
	w.Close() // only the process has it now
	_ = report.SetReadDeadline(time.Now().Add(boundWait))
	said, e := io.ReadAll(report)
	if e == nil && len(said) == 0 {
		return pid, nil // it is the program, or has ended, which is seen like any end
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	_, _ = unix.Wait4(pid, nil, 0, nil)
	if e != nil {
		return 0, boundFault{Text: fmt.Sprintf("it could not be bound within %v", boundWait)}
	}
	var f boundFault
	if json.Unmarshal(said, &f) != nil {
		return 0, boundFault{Text: fmt.Sprintf("it could not be bound: %q", said)}
	}
	if f.Errno != 0 {
		return 0, f.Errno
	}
	return 0, f
}

// BecomeBound becomes the program. It returns only if it can't tell why that can't be.
func BecomeBound(args []string) error {
	const least = 2
	var o boundOrder
	if len(args) < least || json.Unmarshal([]byte(args[0]), &o) != nil {
		return syscall.EINVAL
	}
	runtime.LockOSThread() // what is done to the thread is the program's: the others end when it begins
	syscall.CloseOnExec(o.Report)
	f := o.carryOut(args[1:])
	text, _ := json.Marshal(f)
	if _, err := unix.Write(o.Report, text); err != nil {
		return errors.Join(f, err)
	}
	os.Exit(exitNotRun)
	return nil
}

const exitNotRun = 127 // as a shell's

// carryOut returns only what could not be done. With the last limits there may be no more
// threads, memory or files, so from there on the Go runtime is asked for next to nothing.
func (o boundOrder) carryOut(argv []string) boundFault {
	env := os.Environ()
	if o.Nice != nil {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, *o.Nice); err != nil { // 0 is the thread
			return boundFault{Text: fmt.Sprintf("cannot set nice to %d: %v (less than gopm's own takes CAP_SYS_NICE, as root has it)", *o.Nice, err)}
		}
	}
	for _, path := range o.Groups {
		if err := join(path); err != 0 {
			return boundFault{Text: fmt.Sprintf("cannot enter the cgroup by %s: %v", path, err)}
		}
	}
	for _, r := range o.Rlimits {
		if err := r.set(); err != nil {
			return boundFault{Text: r.refusal(err)}
		}
	}
	if err := o.become(); err != 0 {
		return boundFault{Errno: err}
	}
	if o.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return boundFault{Text: fmt.Sprintf("cannot set no_new_privs: %v", err)}
		}
	}
	errno := syscall.Errno(0)
	if !errors.As(syscall.Exec(argv[0], argv, env), &errno) {
		errno = unix.EINVAL
	}
	return boundFault{Errno: errno}
}

// join writes into the file of a cgroup that takes processes. It goes around the Go
// runtime, which may start a thread for a call that takes long: there may be none left.
func join(path string) syscall.Errno {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err.(syscall.Errno)
	}
	me := []byte(strconv.Itoa(os.Getpid()))
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&me[0])), uintptr(len(me)))
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
	return errno
}

// set goes through package syscall, which then knows that the number of open files isn't
// to be put back to what it was before the Go runtime raised it.
func (r Rlimit) set() error {
	return syscall.Setrlimit(r.Resource, &syscall.Rlimit{Cur: r.Soft, Max: r.Hard})
}

// refusal says why a limit could not be set.
func (r Rlimit) refusal(err error) string {
	var now unix.Rlimit
	text := fmt.Sprintf("cannot set rlimits.%s to %s: %v", r.Name, limitText(r.Hard), err)
	if err == unix.EPERM && unix.Getrlimit(r.Resource, &now) == nil && r.Hard > now.Max {
		text += fmt.Sprintf(" (the hard limit is %s; to go above it takes CAP_SYS_RESOURCE, which root has where no container took it; systemd gives a service more by Limit%s=)", limitText(now.Max), strings.ToUpper(r.Name))
	}
	return text
}

func limitText(n uint64) string {
	if n == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

// become makes the thread the user, and enters the folder as that. Only the thread counts:
// the program gets what the one has that begins it.
func (o boundOrder) become() syscall.Errno {
	u := o.User
	if u == nil {
		return 0
	}
	groups := append(slices.Clone(u.Groups), 0) // so that there is a first one; it isn't counted
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(u.Groups)), uintptr(unsafe.Pointer(&groups[0])), 0); e != 0 {
		return e
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETGID, uintptr(u.GID), 0, 0); e != 0 {
		return e
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETUID, uintptr(u.UID), 0, 0); e != 0 {
		return e
	}
	if o.Dir == "" {
		return 0
	}
	if err := unix.Chdir(o.Dir); err != nil {
		return err.(syscall.Errno)
	}
	return 0
}
