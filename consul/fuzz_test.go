package consul

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// canned answers every request with the same.
type canned struct {
	status int
	head   http.Header
	body   string
}

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: c.status, Status: http.StatusText(c.status), Header: c.head.Clone(), Body: io.NopCloser(strings.NewReader(c.body)), Request: r}, nil
}

// answeredBy is a client whose agent always says that.
func answeredBy(t testing.TB, status int, index, body string) *Client {
	t.Helper()
	head := http.Header{"X-Consul-Index": {index}, "X-Consul-Effective-Consistency": {"leader"}}
	way := &http.Client{Transport: wary{canned{status, head, body}, ""}, CheckRedirect: stay}
	c, err := api.NewClient(&api.Config{Address: "http://agent", HttpClient: way})
	if err != nil {
		t.Fatal(err)
	}
	return &Client{api: c, where: "agent"}
}

// asked is what is made of an answer to every question there is.
type asked struct {
	entries                 []Entry
	records, keys           []Record
	record                  Record
	have                    map[string]entry
	session                 string
	taken                   Mark
	isTaken                 bool
	entriesErr, recordsErr  error
	keysErr, recordErr      error
	haveErr, openErr, other error
}

func (c *Client) askAll(ctx context.Context) (a asked) {
	a.entries, a.entriesErr = c.Entries(ctx, "web")
	a.records, _, a.recordsErr = c.Records(ctx, "gopm/", 7, time.Second)
	a.keys, _, a.keysErr = c.Keys(ctx, "k", true, 7, time.Second)
	a.record, a.recordErr = c.Record(ctx, "k")
	a.have, a.haveErr = c.look(ctx, owner)
	a.session, a.openErr = c.openSession(ctx, "s", time.Minute)
	a.taken, a.isTaken, a.other = c.TakeMark(ctx, "k", "name", time.Minute)
	_, err := c.see(ctx, "k", 7, time.Second)
	a.other = errors.Join(a.other, err)
	_, err = c.renewSession(ctx, "s", time.Minute)
	a.other = errors.Join(a.other, err)
	_, err = c.KeepMark(ctx, Mark{"k", "s"})
	a.other = errors.Join(a.other, err)
	_, err = c.lockKey(ctx, "k", "s", "h")
	a.other = errors.Join(a.other, err)
	return a
}

// FuzzAnswers has an agent, or somebody in its place, say anything at all to every question:
// nobody falls over, what is had of it is whole, and an error is one of ours.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		"", "null", "{}", "[]", "[null]", "[{}]", `[{"Node":null,"Service":null,"Checks":[null]}]`, "true", "false", "7", `"x"`, `{"ID":""}`, `{"ID":"a"}`, `[{"ID":"a"}]`,
		`[{"Key":"gopm/a","Value":"eA==","ModifyIndex":3,"Session":"s"}]`, `[{"Key":"k","Value":"!"}]`, `[{"Key":"elsewhere"}]`,
		`[{"Node":{"Node":"n","Address":"1.2.3.4"},"Service":{"ID":"gopm:n","Service":"web","Port":1,"Weights":{"Passing":1}},"Checks":[{"Status":"passing"},{"Status":"odd","Output":"o"}]}]`,
		`{"gopm:h":{"ID":"gopm:h","Service":"web","Meta":{"gopm_home":"/home/a"}}}`, `{"gopm:h":null}`, `{"service:gopm:h":{"ServiceID":"gopm:h"},"gopm:h":{}}`,
		strings.Repeat("[", 20_000), "\xff\xfe", "Permission denied", `{"ID":"a"} trailing`,
	} {
		f.Add(uint16(200), "7", body)
		f.Add(uint16(500), "7", body)
	}
	f.Add(uint16(404), "", "")
	f.Add(uint16(403), "7", "ACL not found")
	f.Add(uint16(200), "-1", "[]")
	f.Add(uint16(200), "99999999999999999999", "[]")
	f.Fuzz(func(t *testing.T, status uint16, index, body string) {
		if status < 200 || status > 599 {
			return // net/http takes no such answer
		}
		a := answeredBy(t, int(status), index, body).askAll(t.Context())
		for _, err := range []error{a.entriesErr, a.recordsErr, a.keysErr, a.recordErr, a.haveErr, a.openErr} {
			var ours *Error
			if err != nil && (!errors.As(err, &ours) || ours.why == "") {
				t.Errorf("%d %q: %#v", status, body, err)
			}
		}
		switch {
		case a.openErr == nil && a.session == "":
			t.Error("a session without a name: a lock that nobody has would count as its")
		case a.isTaken && a.taken.Session == "":
			t.Error("a mark is held by no session")
		}
		for id := range a.have {
			if !strings.HasPrefix(id, owner.Prefix) {
				t.Errorf("the entry %q isn't ours", id)
			}
		}
		for _, e := range a.entries {
			if e.Status != Passing && e.Status != Warning && e.Status != Critical {
				t.Errorf("status %q", e.Status)
			}
		}
		if a.entriesErr != nil && len(a.entries) > 0 || a.recordsErr != nil && len(a.records) > 0 || a.keysErr != nil && len(a.keys) > 0 {
			t.Errorf("half an answer: %+v", a)
		}
	})
}

// FuzzLease has a lease hear anything in any order: it is held only while its key is said to
// be that of a session of its own, and never longer than that has time.
func FuzzLease(f *testing.F) {
	f.Add([]byte{0, 0, 1, 3, 1, 1, 4, 1, 1, 5, 1, 1, 4, 1, 1, 10, 9, 9})
	f.Add([]byte{0, 0, 0, 3, 0, 0, 4, 0, 0, 10, 200, 0, 2, 0, 0, 6, 0, 0, 7, 0, 0})
	sessions := []string{"", "a", "b"}
	f.Fuzz(func(t *testing.T, story []byte) {
		l := newLease(LockOptions{TTL: 10 * time.Second}, 0)
		now := time.Duration(0)
		for ; len(story) >= 3; story = story[3:] {
			now += time.Duration(story[1]) * 100 * time.Millisecond
			n := leaseNews{
				event: leaseEvent(int(story[0]) % leaseEvents), now: now, request: l.request, sent: now, session: sessions[int(story[2])%len(sessions)], isOurs: story[2]&4 != 0,
				seen: sitting{session: sessions[int(story[2]>>3)%len(sessions)], modify: uint64(story[2] >> 5), index: uint64(story[1])}, err: errors.New("lost"),
			}
			if n.event == leaseOpened && n.session == "" {
				n.session = "a" // see FuzzAnswers
			}
			if story[0] > 240 {
				n.request++ // an answer to something else
			}
			if l.state == leaseOpening && n.event == leaseSeen || l.state == leaseWatching && n.event == leaseOpened {
				n.request++ // nobody has asked that
			}
			was := l
			next, _ := l.step(n)
			l, _ = next.renew(now)
			switch {
			case l.state < 0 || int(l.state) >= leaseStates:
				t.Fatalf("state %d", l.state)
			case l.state == leaseHeld && l.session == "":
				t.Fatalf("held by no session: %+v, then %+v", was, n)
			case l.state == leaseHeld && was.state != leaseHeld && (n.seen.session != l.session || now >= l.until()):
				t.Fatalf("held by %+v, after %+v", n, was)
			case l.state == leaseHeld && n.event == leaseTimer && now >= l.until():
				t.Fatalf("held at %v, until %v", now, l.until())
			case l.next() < 0:
				t.Fatalf("due at %v", l.next())
			}
		}
	})
}
