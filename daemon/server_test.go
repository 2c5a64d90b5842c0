package daemon

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"gopm/daemon/api"
)

// Fields that are not known are a mistake of whoever speaks our version or none; a
// command line of another version may be later than we are.
func TestStrictnessIsForOurOwnVersion(t *testing.T) {
	t.Parallel()
	take := route{method: "POST", handle: posted(func(_ context.Context, in api.Scale) (int, error) { return in.Count, nil })}
	d := fuzzDaemon(t)
	d.cfg.Version = "v2"
	h := d.introduced(take)
	for version, want := range map[string]int{"": 400, "v2": 400, "v1": 200, "v3": 200} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(`{"count": 4, "colour": "red"}`))
		if version != "" {
			r.Header.Set(api.VersionHeader, version)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || w.Header().Get(api.VersionHeader) != "v2" {
			t.Errorf("from %q: status %d, want %d, headers %v", version, w.Code, want, w.Header())
		}
		if want == 200 && strings.TrimSpace(w.Body.String()) != "4" {
			t.Errorf("from %q: %s", version, w.Body)
		}
	}
}
