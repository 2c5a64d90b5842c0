package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gopm/consul"
	"gopm/daemon/api"
	"gopm/ecosystem"
)

// FuzzValues has anybody write anything to the keys that configure an app: what of it
// becomes a variable is a plain one, that runs no other program, and that a program can be
// started with.
func FuzzValues(f *testing.F) {
	for _, s := range []struct{ name, value string }{
		{"A", "1"}, {"LD_PRELOAD", "/x"}, {"ld_preload", "x"}, {"PATH", "/x"}, {"N", "7"}, {"GOPM_HOME", "/x"}, {"pm_id", "7"}, {"A=B", "c"}, {"A\x00", "c"}, {"A", "\x00"}, {"A", "\xff"}, {"NOTIFY_SOCKET", "x"},
		{"A/", ""}, {"", ""}, {"a/b", "c"}, {"ALLOWED_OPTIONS", "x"}, {"node_options", "--require /x"}, {"BASH_FUNC_x%%", "() { x; }"}, {"A", strings.Repeat("x", mostInOne)},
	} {
		f.Add(s.name, s.value, []byte(`{"B":"2","LD_AUDIT":"x","C":{"x":1}}`))
		f.Add(s.name, s.value, []byte(s.name+"="+s.value))
	}
	own := names{"N", "name", "pm_id", "namespace"}
	allow := []string{"ALLOWED_OPTIONS"}
	before := &values{Number: 4, Vars: []setting{{Name: "KEPT", Value: []byte("1")}}, Files: []setting{{Name: "/f", Value: []byte("old")}}}
	f.Fuzz(func(t *testing.T, name, value string, text []byte) {
		c := ecosystem.ConsulConfig{Env: "cfg/web", Allow: allow, Files: []ecosystem.ConsulFile{{Path: "/f", Key: "file"}}}
		got := answers{index: 3, env: []consul.Record{{Key: "cfg/web", Value: text}, {Key: "cfg/web/" + name, Value: []byte(value)}, {Key: name, Value: []byte(value)}}, files: [][]consul.Record{nil}}
		v, err := valuesOf(c, own, got, before, time.Time{})
		if err != nil {
			if v != nil || strings.ContainsAny(err.Error(), "\x00\x1b\n") {
				t.Errorf("%v with %v", err, v)
			}
			return
		}
		if v.Number <= before.Number || len(v.Files) != 1 || string(v.Files[0].Value) != "old" {
			t.Errorf("edition %d after %d, files %v", v.Number, before.Number, v.Files)
		}
		sum := 0
		for i, s := range v.Vars {
			sum += len(s.Name) + len(s.Value)
			upper := strings.ToUpper(s.Name)
			if !isPlainName(s.Name) || slices.Contains(own, s.Name) || strings.HasPrefix(upper, "LD_") || upper == "PATH" || upper == "NODE_OPTIONS" || strings.HasPrefix(s.Name, "GOPM_") {
				t.Errorf("keys set %q", s.Name)
			}
			if bytes.IndexByte(s.Value, 0) >= 0 || len(s.Value) > mostInOne || i > 0 && v.Vars[i-1].Name >= s.Name {
				t.Errorf("%q is %.40q", s.Name, s.Value)
			}
		}
		if sum > mostInAll {
			t.Errorf("%d bytes of variables", sum)
		}
		var again values
		if err := json.Unmarshal(encode(v), &again); err != nil || !again.isSame(v) {
			t.Errorf("%s is kept as %s, %v", encode(v), encode(&again), err)
		}
	})
}

// FuzzVerdict reads what some machine says of values.
func FuzzVerdict(f *testing.F) {
	for _, s := range []string{`{"index":7,"host":"b","why":"no"}`, `{"index":7,"host":"\u001b[2J","why":"a\nb"}`, `{"index":7,"host":"a","why":"no"}`, `{"index":8,"why":"no"}`, "null", "", `{"index":-7}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got := verdictOf(text, 7, "a"); strings.ContainsAny(got, "\x1b\n\r\x00") || len(got) > 3*maxRolloutText {
			t.Errorf("%q says %q", text, got)
		}
	})
}

// FuzzQueries asks for everything that can be asked for, in any words: there is an answer,
// and what is wrong is the caller's.
func FuzzQueries(f *testing.F) {
	d := fuzzDaemon(f)
	emptyInstance(f, d)
	routes := slices.DeleteFunc(d.routes(), func(r route) bool { return r.method != http.MethodGet })
	for i := range routes {
		for _, query := range []string{"", "target=web", "target=all&follow=1", "target=%2F(%2F", "target=web&lines=-1", "target=web&lines=99999999999999999999", "follow=1&after=18446744073709551615", "since=x", "since=9999-12-31T23:59:59Z&lines=0", "kind=\x1b", "number=1", "target=web&inc=-1", "target=web&inc=1&out=7:8:9&err=x", "deep=1", "%zz", ";"} {
			f.Add(uint8(i), query)
		}
	}
	server := newServer(d, newDoor(f.Logf)).Handler
	f.Fuzz(func(t *testing.T, which uint8, query string) {
		r := routes[int(which)%len(routes)]
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // who follows has seen enough with the first part
		request := httptest.NewRequestWithContext(ctx, http.MethodGet, r.path, nil)
		request.URL.RawQuery = query
		code, text := answerTo(t, server, request)
		var e api.Error
		switch {
		case code == http.StatusOK:
		case json.Unmarshal(text, &e) != nil, e.Message == "", e.Kind.Status() != code:
			t.Errorf("%s?%s answered %d, %q: not an error of ours", r.path, url.QueryEscape(query), code, text)
		case e.Kind != api.KindInvalid && e.Kind != api.KindNotFound && e.Kind != api.KindConflict && e.Kind != api.KindBusy:
			t.Errorf("%s?%s: %v (%s): it is the caller's fault", r.path, url.QueryEscape(query), e.Message, e.Kind)
		}
	})
}
