package logs

import (
	"slices"
	"testing"
)

func TestRotatedNames(t *testing.T) {
	t.Parallel()
	const a, b, c = "2026-01-01T00-00-00.000", "2026-01-02T00-00-00.000", "2026-01-02T00-00-00.001"
	tests := map[string]struct {
		path          string
		listing, want []string
	}{
		"none":         {"/l/web.log", []string{"web.log", "web-out.log", "web-x" + a[1:] + ".log"}, nil},
		"plain":        {"/l/web.log", []string{"web-" + b + ".log", "web.log", "web-" + a + ".log"}, []string{"web-" + a + ".log", "web-" + b + ".log"}},
		"packed":       {"/l/web.log", []string{"web-" + a + ".log.gz", "web-" + b + ".log", "web-" + c + ".log.gz"}, []string{"web-" + a + ".log.gz", "web-" + b + ".log", "web-" + c + ".log.gz"}},
		"in both":      {"/l/web.log", []string{"web-" + a + ".log", "web-" + a + ".log.gz", "web-" + b + ".log"}, []string{"web-" + a + ".log", "web-" + b + ".log"}},
		"no extension": {"/l/web", []string{"web", "web-" + a, "web-" + a + ".gz", "web-" + b + ".gz"}, []string{"web-" + a, "web-" + b + ".gz"}},
		"others'":      {"/l/web.log", []string{"web-" + a + ".log.gz.tmp", "web-" + a + ".logxgz", "web-" + a + ".txt", "webb-" + a + ".log"}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slices.Sort(tt.listing)
			got := rotatedNames(tt.listing, tt.path)
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			prefix, ext := splitName(tt.path)
			for _, n := range got {
				at, ok := stampOf(n, prefix, ext)
				packed := n != prefix+at.Format(rotatedStamp)+ext
				if !ok || packed != packedName(n, tt.path) {
					t.Errorf("%s: time %v, %v; packed %v", n, at, ok, packedName(n, tt.path))
				}
			}
		})
	}
}
