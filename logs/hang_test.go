package logs

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hangingDisk is a file system of one file, through /dev/fuse, whose writes hang on
// demand: the real thing, in a system call that doesn't come back. It lives in a
// process of its own (diskChild), because a process that hangs in its own file
// system can't even be killed.
type hangingDisk struct {
	path string
	in   io.WriteCloser
	out  *bufio.Reader
}

// mountHangingDisk skips the test where one may not mount.
func mountHangingDisk(t *testing.T) *hangingDisk {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LOGS_TEST_CHILD=disk", "LOGS_TEST_DIR="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the end of its stdin ends it, even if this process is killed
		in.Close()
		cmd.Wait()
	})
	d := &hangingDisk{path: filepath.Join(dir, "a.log"), in: in, out: bufio.NewReader(out)}
	if answer, err := d.out.ReadString('\n'); answer != "mounted\n" {
		t.Skipf("no file system of our own here: %s%v", answer, err)
	}
	return d
}

// tell gives it a command, h (hang) or r (resume), and waits for the answer.
func (d *hangingDisk) tell(t *testing.T, command string) {
	t.Helper()
	io.WriteString(d.in, command)
	if _, err := d.out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
}

// diskServer is the other side.
type diskServer struct {
	fd int

	mu   sync.Mutex // guards what follows
	data []byte
	made bool
	over chan struct{} // closed when writes go on; nil: they don't hang
}

func diskChild() int {
	dir := os.Getenv("LOGS_TEST_DIR")
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d", fd, os.Getuid(), os.Getgid())
	if err := unix.Mount("hanging", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		fmt.Println(err)
		return 1
	}
	d := &diskServer{fd: fd}
	go d.serve()                         // ends with the process
	time.AfterFunc(time.Minute, func() { // a test that was killed may hang here, with our stdin open
		unix.Unmount(dir, unix.MNT_DETACH)
		os.Exit(1)
	})
	fmt.Println("mounted")
	command := make([]byte, 1)
	for {
		if _, err := os.Stdin.Read(command); err != nil {
			break
		}
		d.mu.Lock()
		switch {
		case command[0] == 'h':
			d.over = make(chan struct{})
		case d.over != nil:
			close(d.over)
			d.over = nil
		}
		d.mu.Unlock()
		fmt.Println("ok")
	}
	unix.Unmount(dir, unix.MNT_DETACH)
	return 0 // what still hangs is answered with an error by the kernel
}

// serve answers the kernel until the file system is unmounted.
func (d *diskServer) serve() {
	buf := make([]byte, 256<<10)
	le := binary.LittleEndian
	for {
		n, err := retryInt(func() (int, error) { return unix.Read(d.fd, buf) })
		if err == unix.ENOENT { // a request that was interrupted
			continue
		}
		if err != nil || n < 40 {
			return
		}
		reply, errno, silent := d.answer(le.Uint32(buf[4:]), le.Uint64(buf[16:]), buf[40:n])
		if silent {
			continue
		}
		out := make([]byte, 16, 16+len(reply))
		out = append(out, reply...)
		le.PutUint32(out, uint32(len(out)))
		le.PutUint32(out[4:], uint32(-int32(errno)))
		copy(out[8:16], buf[8:16])
		unix.Write(d.fd, out)
	}
}

// answer knows what open, fstat, write and splice ask for; see linux/fuse.h.
func (d *diskServer) answer(op uint32, node uint64, in []byte) (reply []byte, errno unix.Errno, silent bool) {
	const (
		lookup, forget, getattr, setattr, open, read, write = 1, 2, 3, 4, 14, 15, 16
		release, initialise, create, interrupt, batchForget = 18, 26, 35, 36, 42
	)
	le := binary.LittleEndian
	if op == write {
		d.mu.Lock()
		over := d.over
		d.mu.Unlock()
		if over != nil {
			<-over
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	opened := make([]byte, 16)
	opened[8] = 1 // direct I/O: a write waits for us
	switch op {
	case forget, batchForget, interrupt:
		return nil, 0, true
	case initialise:
		out := make([]byte, 64)
		le.PutUint32(out, 7)
		le.PutUint32(out[4:], 31)
		le.PutUint32(out[20:], 128<<10)
		return out, 0, false
	case lookup:
		if !d.made || string(bytes.TrimRight(in, "\x00")) != "a.log" {
			return nil, unix.ENOENT, false
		}
		return d.entry(), 0, false
	case getattr, setattr:
		return append(make([]byte, 16), d.attr(node)...), 0, false
	case create:
		d.made = true
		return append(d.entry(), opened...), 0, false
	case open:
		return opened, 0, false
	case read:
		off, size := int(le.Uint64(in[8:])), int(le.Uint32(in[16:]))
		off = min(off, len(d.data))
		return d.data[off:min(off+size, len(d.data))], 0, false
	case write:
		off, data := int(le.Uint64(in[8:])), in[40:]
		if grow := off + len(data) - len(d.data); grow > 0 {
			d.data = append(d.data, make([]byte, grow)...)
		}
		copy(d.data[off:], data)
		out := make([]byte, 8)
		le.PutUint32(out, uint32(len(data)))
		return out, 0, false
	case release:
		return nil, 0, false
	}
	return nil, unix.ENOSYS, false
}

func (d *diskServer) attr(node uint64) []byte {
	le := binary.LittleEndian
	a := make([]byte, 88)
	le.PutUint64(a, node)
	mode, links := uint32(unix.S_IFDIR|0o700), uint32(2)
	if node != 1 {
		mode, links = unix.S_IFREG|0o600, 1
		le.PutUint64(a[8:], uint64(len(d.data)))
	}
	for i, v := range []uint32{mode, links, uint32(os.Getuid()), uint32(os.Getgid())} {
		le.PutUint32(a[60+4*i:], v)
	}
	return a
}

func (d *diskServer) entry() []byte {
	e := make([]byte, 40)
	e[0] = 2 // the number of the one file
	return append(e, d.attr(2)...)
}

// TestADiskThatReallyHangs stops a buffered program as little as an injected hang
// does, and an unbuffered one is shown as stalled; both go on with the disk.
func TestADiskThatReallyHangs(t *testing.T) {
	t.Parallel()
	for _, buffered := range []bool{true, false} {
		t.Run(fmt.Sprintf("buffered %v", buffered), func(t *testing.T) {
			t.Parallel()
			d := mountHangingDisk(t)
			p, _ := startPump(t)
			s, w := openStream(t, p, Target{Path: d.path, Buffered: buffered})
			write(t, w, "before\n")
			flush(t, s)
			d.tell(t, "h")
			defer d.tell(t, "r") // whatever happens: a program that hangs there can't be ended
			lines := 500
			if buffered {
				lines = 30_000 // 3 MB, line by line
				for i := range lines {
					write(t, w, string(numbered(i)))
				}
			} else { // at once: while splice waits, the pipe is locked
				var all []byte
				for i := range lines {
					all = append(all, numbered(i)...)
				}
				write(t, w, string(all))
			}
			eventually(t, func() error {
				st := s.Stats()
				if st.Stalled.IsZero() || buffered && st.Dropped == 0 {
					return fmt.Errorf("stats %+v", st)
				}
				return nil
			})
			if m := s.Mark(); !buffered && m != (Mark{}) {
				t.Errorf("mark %+v", m)
			}
			d.tell(t, "r")
			flush(t, s)
			last, n := -1, 0
			for line := range strings.Lines(strings.TrimPrefix(content(t, d.path), "before\n")) {
				var i int
				if fmt.Sscanf(line, "%d", &i); line != string(numbered(i)) || i <= last {
					t.Fatalf("torn or unordered line %q after %d", line, last)
				}
				last = i
				n++
			}
			st := s.Stats()
			if missing := int64(lines-n) * lineLength; missing != st.Dropped || !st.Stalled.IsZero() || n == 0 {
				t.Errorf("%d lines of %d, stats %+v", n, lines, st)
			}
		})
	}
}
