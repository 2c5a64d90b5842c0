package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Net is some machines on a cable: network namespaces, joined by a bridge in one of its
// own. They are no namespaces with names: they vanish with the process that made them.
type Net struct {
	Machines []*Machine
	cable    *Machine // has the bridge
}

// Machine is one of them. Its processes have a loopback and an interface of their own,
// and share all else with everybody.
type Machine struct {
	Name    string // "m1"
	Address string // on the cable: "10.77.0.1"
	holder  *exec.Cmd
	leash   io.Closer // the holder ends when it is closed
}

// NewNet makes a cable with n machines.
func NewNet(n int) (*Net, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("network namespaces need root: run this test as root")
	}
	cable, err := newMachine("cable", "")
	if err != nil {
		return nil, err
	}
	w := &Net{cable: cable}
	if err := w.wire(n); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func (w *Net) wire(n int) error {
	if err := w.cable.ip("link add cable0 type bridge", "link set cable0 up"); err != nil {
		return err
	}
	for i := 1; i <= n; i++ {
		m, err := newMachine(fmt.Sprintf("m%d", i), fmt.Sprintf("10.77.0.%d", i))
		if err != nil {
			return err
		}
		w.Machines = append(w.Machines, m)
		link := fmt.Sprintf("link add %s type veth peer name eth0 netns %d", m.Name, m.holder.Process.Pid)
		if err := w.cable.ip(link, "link set "+m.Name+" master cable0 up"); err != nil {
			return err
		}
		if err := m.ip("link set lo up", "address add "+m.Address+"/24 dev eth0", "link set eth0 up"); err != nil {
			return err
		}
	}
	return nil
}

// newMachine makes a namespace with a process that holds it.
func newMachine(name, address string) (*Machine, error) {
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	leash, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := start(cmd); err != nil {
		return nil, fmt.Errorf("a network namespace: %w", err)
	}
	return &Machine{name, address, cmd, leash}, nil
}

// Cut separates a machine from the others: what it sends is lost, and it isn't told.
func (w *Net) Cut(m *Machine) error { return w.cable.ip("link set " + m.Name + " nomaster") }

// Join undoes that.
func (w *Net) Join(m *Machine) error { return w.cable.ip("link set " + m.Name + " master cable0") }

// Close ends the machines, not what runs on them.
func (w *Net) Close() {
	for _, m := range append(w.Machines, w.cable) {
		_ = m.leash.Close()
		_ = m.holder.Wait() // cat ends
	}
}

// ip runs commands of iproute2 on a machine.
func (m *Machine) ip(commands ...string) error {
	for _, c := range commands {
		if out, err := m.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %v: %s", c, err, out)
		}
	}
	return nil
}

// Prefix goes before a command that is to run on the machine.
func (m *Machine) Prefix() []string {
	return []string{"nsenter", "--net=" + m.namespace(), "--"}
}

func (m *Machine) namespace() string {
	return fmt.Sprintf("/proc/%d/ns/net", m.holder.Process.Pid)
}

// Command prepares a command on the machine. Its process is the command's own.
func (m *Machine) Command(name string, args ...string) *exec.Cmd {
	all := append(append(m.Prefix(), name), args...)
	return exec.Command(all[0], all[1:]...)
}

// Dial connects from the machine, so that what listens on its loopback can be asked, also
// while it is cut off. A socket stays in the namespace in which it was made.
func (m *Machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	runtime.LockOSThread()
	back, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer back.Close()
	conn, err := m.dialThere(ctx, network, address)
	if unix.Setns(int(back.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread() // else the thread ends with the goroutine
	}
	return conn, err
}

func (m *Machine) dialThere(ctx context.Context, network, address string) (net.Conn, error) {
	there, err := os.Open(m.namespace())
	if err != nil {
		return nil, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	return (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, network, address)
}
