package cmd

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopm/daemon/api"
)

// keeperWithoutDaemon holds a home's lock as a keeper does that has given up. The script
// is what it does when it is woken.
func keeperWithoutDaemon(t *testing.T, onWake string) *cli {
	t.Helper()
	home := api.Home{Dir: t.TempDir()}
	cmd := exec.Command("bash", "-c", `exec 9<>keeper.lock; flock -x 9; echo $$ >&9; trap "$0" USR1; echo held; while :; do sleep 0.02; done`, onWake)
	cmd.Dir = home.Dir
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatal(line, err)
	}
	return &cli{client: api.NewClient(home, version, nil)}
}

func TestKeeperIsWoken(t *testing.T) {
	t.Parallel()
	c := keeperWithoutDaemon(t, `exec python3 -c 'import socket, time; s = socket.socket(socket.AF_UNIX); s.bind("gopm.sock"); s.listen(); time.sleep(100)'`)
	if c.alive() {
		t.Fatal("there is no daemon yet")
	}
	woken, err := c.wakeKeeper(context.Background())
	if !woken || err != nil {
		t.Error(woken, err)
	}
}

func TestKeeperThatEndsWhenWoken(t *testing.T) {
	t.Parallel()
	c := keeperWithoutDaemon(t, `exit 1`)
	if woken, err := c.wakeKeeper(context.Background()); woken || err != nil {
		t.Error(woken, err)
	}
}

func TestKeeperWhoseDaemonsFail(t *testing.T) {
	t.Parallel()
	c := keeperWithoutDaemon(t, `:`)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if woken, err := c.wakeKeeper(ctx); woken || err != ctx.Err() {
		t.Error(woken, err)
	}
}

// A program that a daemon was starting when it was killed keeps its socket and its lock for an instant:
// a command that came in that instant said that the daemon had ended, and started none. What a
// container has can't be seen, and answers.
func TestSocketOfTheDead(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{false, true} {
		home := api.Home{Dir: t.TempDir()}
		ended := exec.Command("true")
		if err := ended.Run(); err != nil {
			t.Fatal(err)
		}
		lock, err := os.Create(home.Lock())
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Close()
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(lock, ended.Process.Pid)
		l, err := home.Listen()
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !answers {
				panic(http.ErrAbortHandler)
			}
		})}
		go server.Serve(l) // ended by Close
		defer server.Close()
		if c := (&cli{client: api.NewClient(home, version, nil)}); c.alive() != answers {
			t.Errorf("it answers: %v; alive: %v", answers, !answers)
		}
	}
}

// A lock that nobody holds names nobody, whatever pid is in it.
func TestKeeperThatIsGone(t *testing.T) {
	t.Parallel()
	home := api.Home{Dir: t.TempDir()}
	if err := os.WriteFile(home.KeeperLock(), []byte(fmt.Sprint(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &cli{client: api.NewClient(home, version, nil)}
	if woken, err := c.wakeKeeper(context.Background()); woken || err != nil {
		t.Error(woken, err)
	}
}

// A daemon that answers with a pid is asked again until it is another one.
func TestSuccessor(t *testing.T) {
	t.Parallel()
	home := api.Home{Dir: t.TempDir()}
	l, err := home.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the listener
		for _, pid := range []int{7, 7, 0, 9} {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil && pid != 0 {
				body := fmt.Sprintf(`{"pid": %d, "refused": "it is older"}`, pid)
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			}
			conn.Close()
		}
	}()
	c := &cli{client: api.NewClient(home, version, nil)}
	now, err := c.successor(context.Background(), 7)
	if err != nil || now.Pid != 9 || !strings.Contains(now.Refused, "older") {
		t.Errorf("%+v, %v", now, err)
	}
}
