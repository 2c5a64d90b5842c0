package daemon

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Who comes when there is no room is sent away, and has room as soon as another has gone.
func TestFewerConnections(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &fewer{Listener: inner, room: make(chan struct{}, 1)}
	accepted := make(chan net.Conn, 2)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	defer func() { l.Close(); <-done }()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	dial()
	first := <-accepted
	if n, err := dial().Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("one too many was read from: %d bytes, %v", n, err)
	}
	for range 2 { // a second close gives no more room
		first.Close()
	}
	dial()
	(<-accepted).Close()
}

// Only a socket of ours gets rights, and nothing is followed to get there.
func TestLetGroupIn(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, filepath.Join(dir, "nothing")} {
		if err := letGroupIn(path); err == nil {
			t.Errorf("%s was let be a socket", path)
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has %v now, %v", info.Mode(), err)
	}
}
