package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// lives is a socket that outlives its daemons: each answer is what one life has to
// say to a request before the connection breaks. After the last nobody listens.
type lives struct {
	client *Client
	asked  atomic.Int32
	others []string // versions the client was told of
	over   chan struct{}
}

func newLives(t *testing.T, answers ...string) *lives {
	t.Helper()
	l := &lives{over: make(chan struct{})}
	home := Home{t.TempDir()}
	listener, err := net.Listen("unix", filepath.Join(home.Dir, "gopm.sock"))
	if err != nil {
		t.Fatal(err)
	}
	l.client = NewClient(home, "v2", func(daemon string) { l.others = append(l.others, daemon) })
	go func() { // ends with the last answer, or the listener; waited for by Cleanup
		defer close(l.over)
		defer listener.Close()
		for i, answer := range answers {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if i == len(answers)-1 {
				listener.Close()
			}
			l.answer(conn, answer)
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-l.over
	})
	return l
}

func (l *lives) answer(conn net.Conn, text string) {
	defer conn.Close()
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return // a look whether somebody is there
	}
	_, _ = io.Copy(io.Discard, r.Body)
	l.asked.Add(1)
	_, _ = io.WriteString(conn, text)
}

const head = "HTTP/1.1 200 OK\r\nGopm-Version: v2\r\n"

// whole is a complete answer.
func whole(body string) string {
	return fmt.Sprintf(head+"Content-Length: %d\r\n\r\n%s", len(body), body)
}

// chunks is the beginning of a stream; its end is streamEnd.
func chunks(parts ...string) string {
	text := head + "Transfer-Encoding: chunked\r\n\r\n"
	for _, p := range parts {
		text += fmt.Sprintf("%x\r\n%s\r\n", len(p), p)
	}
	return text
}

const streamEnd = "0\r\n\r\n"

func TestQuestionIsAskedAgain(t *testing.T) {
	t.Parallel()
	pong := whole(`{"pid": 7}`)
	l := newLives(t, "", head, pong[:len(pong)-3], pong)
	var p Ping
	if err := l.client.Get(context.Background(), PathPing, nil, &p); err != nil || p.Pid != 7 {
		t.Errorf("%+v, %v", p, err)
	}
	if n := l.asked.Load(); n != 4 {
		t.Errorf("asked %d times", n)
	}
}

func TestQuestionThatEndsEveryDaemon(t *testing.T) {
	t.Parallel()
	l := newLives(t, make([]string, patience+5)...)
	err := l.client.Get(context.Background(), PathPing, nil, &Ping{})
	if err == nil || !strings.Contains(err.Error(), "10 times in a row") || !strings.Contains(err.Error(), "gopm.log") {
		t.Error(err)
	}
}

func TestQuestionToADaemonThatDoesNotComeBack(t *testing.T) {
	t.Parallel()
	l := newLives(t, "")
	var none *NoDaemonError
	if err := l.client.Get(context.Background(), PathPing, nil, &Ping{}); !errors.As(err, &none) {
		t.Error(err)
	}
}

func TestOrderIsNeverRepeated(t *testing.T) {
	t.Parallel()
	answer := whole(`{"apps": []}`)
	for name, cut := range map[string]string{"unanswered": "", "in the answer": answer[:len(answer)-2]} {
		l := newLives(t, cut, answer, answer)
		err := l.client.Post(context.Background(), PathStop, Targets{}, &Outcome{})
		if err == nil || !strings.Contains(err.Error(), "restarted before it answered") {
			t.Errorf("%s: %v", name, err)
		}
		if n := l.asked.Load(); n != 1 {
			t.Errorf("%s: asked %d times", name, n)
		}
	}
	l := newLives(t, "")
	err := l.client.Post(context.Background(), PathStop, Targets{}, &Outcome{})
	if err == nil || !strings.Contains(err.Error(), "ended before it answered") {
		t.Error(err)
	}
}

// A daemon that is being replaced takes no orders; the next one does.
func TestOrderIsGivenToTheNextDaemon(t *testing.T) {
	t.Parallel()
	later := `{"kind": "again", "message": "the daemon is being replaced"}`
	refusal := fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%s", len(later), later)
	l := newLives(t, refusal, refusal, whole(`{"warnings": ["done"]}`))
	var out Outcome
	if err := l.client.Post(context.Background(), PathStop, Targets{}, &out); err != nil || len(out.Warnings) != 1 || l.asked.Load() != 3 {
		t.Errorf("%+v, %v, asked %d times", out, err, l.asked.Load())
	}
}

func TestHalfAListIsNone(t *testing.T) {
	t.Parallel()
	a, b := `[{"id": 0}]`+"\n", `[{"id": 1}]`+"\n"
	l := newLives(t, chunks(a), chunks(a, b)[:len(chunks(a, b))-6], chunks(a, b)+streamEnd)
	all, err := l.client.Instances(context.Background(), nil)
	if err != nil || len(all) != 2 || all[0].ID != 0 || all[1].ID != 1 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestStreamGoesOnWithTheNextDaemon(t *testing.T) {
	t.Parallel()
	l := newLives(t, "", chunks("1\n", "2\n"), head, chunks("3\n"), chunks("4\n", "5\n")+streamEnd, chunks("6\n"))
	var got []string
	err := Stream(context.Background(), l.client, PathWatch, nil, func(v int, first bool) error {
		got = append(got, fmt.Sprint(v, first))
		return nil
	})
	if !errors.Is(err, ErrStreamEnded) {
		t.Error(err)
	}
	if want := []string{"1 true", "2 false", "3 true", "4 true", "5 false"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// There have been more daemons than a question would have patience with.
func TestStreamOutlivesManyDaemons(t *testing.T) {
	t.Parallel()
	const many = 3 * patience
	var answers []string
	for range many {
		answers = append(answers, chunks("1\n"))
	}
	l := newLives(t, answers...)
	n := 0
	err := Stream(context.Background(), l.client, PathWatch, nil, func(int, bool) error {
		n++
		return nil
	})
	if !errors.Is(err, ErrStreamEnded) || n != many {
		t.Errorf("%d values, %v", n, err)
	}
}

func TestStreamOfNobody(t *testing.T) {
	t.Parallel()
	l := newLives(t)
	<-l.over
	var none *NoDaemonError
	err := Stream(context.Background(), l.client, PathWatch, nil, func(int, bool) error { return nil })
	if !errors.As(err, &none) {
		t.Error(err)
	}
}

// What each returns is its own, also if it looks like a broken connection.
func TestStreamReturnsTheErrorOfEach(t *testing.T) {
	t.Parallel()
	l := newLives(t, chunks("1\n"), chunks("2\n"))
	err := Stream(context.Background(), l.client, PathWatch, nil, func(int, bool) error { return io.ErrUnexpectedEOF })
	if !errors.Is(err, io.ErrUnexpectedEOF) || l.asked.Load() != 1 {
		t.Errorf("%v, asked %d times", err, l.asked.Load())
	}
}

func TestOtherVersionIsToldOnce(t *testing.T) {
	t.Parallel()
	same, other := whole("{}"), strings.Replace(whole("{}"), "v2", "v3", 1)
	for want, answers := range map[string][]string{
		"[v3]": {other, other, same},
		"[]":   {strings.Replace(same, "Gopm-Version: v2\r\n", "", 1), same, other}, // the last one after an update
	} {
		l := newLives(t, answers...)
		for range answers {
			if err := l.client.Get(context.Background(), PathPing, nil, &Ping{}); err != nil {
				t.Error(err)
			}
		}
		if got := fmt.Sprint(l.others); got != want {
			t.Errorf("told of %s, want %s", got, want)
		}
	}
}
