package logs

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// A logrotate moves the daemon's own log away: what is written afterwards is in a
// new file, also when the log has been rotated by us in between.
func TestRotatedThatIsMovedAway(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gopm.log")
	w, err := NewRotated(path, 8, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	write := func(text string) {
		t.Helper()
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	has := func(path, want string) {
		t.Helper()
		if text, err := os.ReadFile(path); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v; want %q", path, text, err, want)
		}
	}
	write("first\n")
	write("second\n") // rotates
	has(path, "second\n")
	for _, aside := range []string{path + ".1", path + ".2"} {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path, aside); err != nil {
			t.Fatal(err)
		}
		write("third\n")
		has(aside, string(before))
		has(path, "third\n")
	}
}
