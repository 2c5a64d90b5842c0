package keeper

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Spawn starts a new keeper for a daemon that runs already: its own has died. The
// new one is the daemon's child, which reaps it, and knows nothing yet: the daemon
// has to put everything again and to say Ready. If it can't keep, it ends, and the
// link is Lost.
func Spawn(home string) (*Link, error) {
	near, far, err := pair()
	if err != nil {
		return nil, fmt.Errorf("cannot make the link to a new keeper: %w", err)
	}
	guestEnd := os.NewFile(uintptr(far), "guest's link")
	defer guestEnd.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		unix.Close(near)
		return nil, fmt.Errorf("cannot start a new keeper: %v", err)
	}
	defer null.Close()
	child, err := os.StartProcess("/proc/self/exe", []string{"gopm", keeperWord, home, modeGuest}, &os.ProcAttr{
		Dir:   "/",
		Files: []*os.File{null, os.Stdout, os.Stderr, null, guestEnd},
	})
	if err != nil {
		unix.Close(near)
		return nil, fmt.Errorf("cannot start a new keeper: %v", err)
	}
	l, err := newLink(near, child.Pid)
	if err != nil {
		unix.Close(near)
		_ = child.Kill()
		_, _ = child.Wait()
		return nil, err
	}
	l.child = child
	l.begin()
	return l, nil
}
