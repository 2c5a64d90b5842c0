package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// handler is what the servers do. They print the id of a request when they begin with
// it and when they have answered.
func handler() http.Handler {
	answer := func(wait time.Duration, early bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			id := r.Header.Get("X-Id")
			fmt.Println("begin " + id)
			if early {
				w.WriteHeader(http.StatusOK)
				w.(http.Flusher).Flush()
			}
			<-time.After(wait)
			fmt.Fprint(w, "answer "+id)
			fmt.Println("end " + id)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/", answer(0, false))
	mux.Handle("/slow", answer(300*time.Millisecond, false))
	mux.Handle("/pause", answer(time.Second, true))
	return mux
}

// inherited is descriptor 3, a listener or a connection.
func inherited() *os.File { return os.NewFile(3, "inherited") }

func serverRole() int {
	l, err := net.FileListener(inherited())
	if err == nil {
		err = http.Serve(l, handler())
	}
	fmt.Println(err)
	return 1
}

// forkerRole gives each connection to a process of its own and keeps none.
func forkerRole() int {
	l, err := net.FileListener(inherited())
	for err == nil {
		var c net.Conn
		if c, err = l.Accept(); err != nil {
			break
		}
		file, _ := c.(*net.TCPConn).File()
		worker := exec.Command("/proc/self/exe")
		worker.Env, worker.Stdout, worker.ExtraFiles = append(os.Environ(), roleKey+"=worker"), os.Stdout, []*os.File{file}
		err = worker.Start()
		file.Close()
		c.Close()
	}
	fmt.Println(err)
	return 1
}

// workerRole serves one connection to its end.
func workerRole() int {
	c, err := net.FileConn(inherited())
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ended := make(chan struct{})
	server := http.Server{Handler: handler(), ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			close(ended)
		}
	}}
	go server.Serve(&single{c: c}) // ends with the process
	<-ended
	return 0
}

// single is a listener with one connection.
type single struct{ c net.Conn }

func (s *single) Accept() (net.Conn, error) {
	if c := s.c; c != nil {
		s.c = nil
		return c, nil
	}
	select {}
}
func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return &net.TCPAddr{} }

// house is a server as a process of its own, and its socket as the daemon holds it.
type house struct {
	t     *testing.T
	fd    int
	port  uint16
	cmd   *exec.Cmd
	ended chan struct{} // its output has ended

	once sync.Once
	mu   sync.Mutex
	said map[string]int // lines
}

func newHouse(t *testing.T, role string, family int, deferAccept bool) *house {
	t.Helper()
	h := &house{t: t, said: map[string]int{}, ended: make(chan struct{})}
	h.fd, h.port = listenOn(t, family, false, deferAccept)
	dup, err := unix.FcntlInt(uintptr(h.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(dup), "socket")
	defer socket.Close()
	h.cmd = exec.Command("/proc/self/exe")
	h.cmd.Env, h.cmd.ExtraFiles = append(os.Environ(), roleKey+"="+role), []*os.File{socket}
	out, err := h.cmd.StdoutPipe()
	if err == nil {
		err = h.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the processes that have the pipe
		defer close(h.ended)
		for in := bufio.NewScanner(out); in.Scan(); {
			h.mu.Lock()
			h.said[in.Text()]++
			h.mu.Unlock()
		}
	}()
	t.Cleanup(h.end)
	return h
}

// end kills it and reads what it has said to the end.
func (h *house) end() {
	h.once.Do(func() {
		pids := proc.tree(h.cmd.Process.Pid)
		_ = h.cmd.Process.Kill()
		for _, pid := range pids[1:] {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		<-h.ended
		_ = h.cmd.Wait()
	})
}

func (h *house) heard(line string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said[line]
}

func (h *house) drainee() drainee {
	return drainee{sockets: []int{h.fd}, ports: []uint16{h.port}, pids: func() []int { return []int{h.cmd.Process.Pid} }}
}

// guest is a client with one connection, which it keeps.
type guest struct {
	*net.TCPConn
	in   *bufio.Reader
	name string
	n    int // requests
}

func (h *house) guest(ip, name string) *guest {
	c := dial(h.t, ip, h.port)
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	return &guest{TCPConn: c, in: bufio.NewReader(c), name: name}
}

// send writes a request and tells its id.
func (g *guest) send(path string) (id string, err error) {
	g.n++
	id = fmt.Sprintf("%s-%d", g.name, g.n)
	_, err = fmt.Fprintf(g, "GET %s HTTP/1.1\r\nHost: x\r\nX-Id: %s\r\n\r\n", path, id)
	return id, err
}

// receive reads the answer to it; started means that some of it came.
func (g *guest) receive(id string) (started bool, err error) {
	if _, err := g.in.Peek(1); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(g.in, nil)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != "answer "+id {
		err = fmt.Errorf("%q is not the answer to %s", body, id)
	}
	return true, err
}

// get is a request and its answer, which has to come.
func (g *guest) get(t *testing.T, path string) {
	t.Helper()
	id, err := g.send(path)
	if err == nil {
		_, err = g.receive(id)
	}
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

// ended says that the other side has closed the connection, waiting a little for it.
func (g *guest) ended(wait time.Duration) bool {
	_ = g.SetReadDeadline(time.Now().Add(wait))
	_, err := g.in.Peek(1)
	_ = g.SetReadDeadline(time.Now().Add(60 * time.Second))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

// visit sends requests, thinking in between, until the connection is closed. Requests
// without an answer are told to lost.
func (g *guest) visit(t *testing.T, seed uint64, think time.Duration, lost func(id string)) (answered int) {
	random := rand.New(rand.NewPCG(seed, 1))
	for !g.ended(rand.N(think) + time.Millisecond) {
		path := "/"
		if random.IntN(4) == 0 {
			path = "/slow"
		}
		id, err := g.send(path)
		started := false
		if err == nil {
			started, err = g.receive(id)
		}
		switch {
		case err == nil:
			answered++
		case started:
			t.Errorf("%s: the answer was broken off: %v", id, err)
			return answered
		default:
			lost(id)
			return answered
		}
	}
	return answered
}
