package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// FuzzState reads what a disk has made of a state document: it is had whole or not at all.
func FuzzState(f *testing.F) {
	whole := func(apps string) string {
		return fmt.Sprintf(`{"format":1,"gopm":"1","boot_id":%q,"sequence":3,"written":"2026-01-02T03:04:05Z","apps":%s,"complete":true}`, BootID(), apps)
	}
	for _, s := range []string{
		"", "null", "{}", "[]", whole("[]"), whole("null"), whole(`[{"spec":{"name":"web"},"instances":[{"id":1,"want":true,"machine":{"state":"online"},"out":{"pipe":5}}]}]`),
		whole(`[{"instances":null},{"instances":[{"id":-1,"start":1,"process":{"pid":-1}}]}]`), whole(`[{"instances":[{"id":1,"start":1,"process":{"pid":1}},{"id":1,"life":18446744073709551615}]}]`),
		strings.TrimSuffix(whole("[]"), `,"complete":true}`), strings.Replace(whole("[]"), `"format":1`, `"format":2`, 1), strings.Replace(whole("[]"), `"sequence":3`, `"sequence":-3`, 1), whole("[]") + whole("[]"),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseState(text)
		if err != nil {
			if !reflect.DeepEqual(s, State{}) {
				t.Errorf("%s: half a state: %+v", text, s)
			}
			return
		}
		if s.Format != StateFormat || !s.Complete {
			t.Errorf("%s was taken for whole", text)
		}
		for id, pid := range s.Alive() {
			if pid < 1 || pid == os.Getpid() {
				t.Errorf("%s: instance %d is said to live as %d", text, id, pid)
			}
		}
		first, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseState(first)
		if second, _ := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s became %s: %v", first, second, err)
		}
	})
}

// saidBy is a connection to somebody who says that, whatever he is asked.
type saidBy struct{ *strings.Reader }

func (saidBy) Write(b []byte) (int, error) { return len(b), nil }
func (saidBy) Close() error                { return nil }

// FuzzAnswer reads what a daemon of another version says, or who is in its place on another
// machine: it is had whole, or there is an error that says something.
func FuzzAnswer(f *testing.F) {
	answer := func(status int, head, body string) string {
		return fmt.Sprintf("HTTP/1.1 %d X\r\n%sContent-Length: %d\r\n\r\n%s", status, head, len(body), body)
	}
	for _, s := range []string{
		"", "HTTP/1.1 200 OK\r\n", "SSH-2.0-x\r\n", answer(200, "", `{"gopm":"1","pid":7}`), answer(200, VersionHeader+": 2\r\n"+TroubleHeader+": its disk\r\n", "[]"),
		answer(200, "", `[{"id":1,"name":"web"}]`+"\n"+`[{"id":2}]`), answer(200, "", `[{"id":1}`), answer(404, "", `{"kind":"not_found","message":"no app"}`), answer(500, "", "{}"), answer(500, "", "<html>"),
		answer(200, "", strings.Repeat("[", 20_000)), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx", answer(204, "", ""), "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n[]", answer(200, "", "null"), answer(100, "", ""),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, said string) {
		asked := 0
		c := NewRemote("web1", "1", func(context.Context) (io.ReadWriteCloser, error) {
			asked++
			return saidBy{strings.NewReader(said)}, nil
		})
		var out json.RawMessage
		if err := c.Get(t.Context(), PathPing, nil, &out); err == nil && !json.Valid(out) {
			t.Errorf("%q: %q was taken for an answer", said, out)
		} else if err != nil && err.Error() == "" {
			t.Errorf("%q: an error that says nothing: %#v", said, err)
		}
		all, err := c.Instances(t.Context(), url.Values{})
		if err != nil && all != nil {
			t.Errorf("%q: half a list, and %v", said, err)
		}
		if asked > 2*patience {
			t.Errorf("%q: asked %d times", said, asked)
		}
		var known *Error
		if errors.As(err, &known) && known.Message == "" {
			t.Errorf("%q: %#v", said, known)
		}
	})
}

// FuzzSelect: what is picked is there, once, and what is refused is refused as a whole.
func FuzzSelect(f *testing.F) {
	all := []Label{{0, "web", "default"}, {1, "web", "default"}, {4, "worker", "jobs"}, {7, "4", "all"}}
	for _, s := range []string{"all", "web", "4", "-1", "99999999999999999999", "/w/", "/(/", "//", "", "jobs\nweb\n4", "\x00", "/\xff/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		picked, err := Select(all, strings.Split(text, "\n"))
		if err != nil && picked != nil {
			t.Errorf("%q: %v, and %v", text, picked, err)
		}
		seen := map[int]bool{}
		for _, i := range picked {
			if i < 0 || i >= len(all) || seen[i] {
				t.Errorf("%q picks %v", text, picked)
			}
			seen[i] = true
		}
		if err == nil && len(picked) == 0 && !slices.Contains(strings.Split(text, "\n"), "all") {
			t.Errorf("%q means nobody, and that is no error", text)
		}
	})
}
