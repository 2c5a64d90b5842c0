package supervise

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// As long as anything is being forked the score is the original, and ours after the
// last.
func TestScoreIsLentWhileForking(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "score")
	if err := os.WriteFile(path, []byte("100"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := &scoreLender{score: Score{Original: "500", Own: "100"}, file: file}
	defer l.close()
	is := func(want string) {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("the score is %s (%v), want %s", got, err, want)
		}
	}
	var forks sync.WaitGroup
	for range 8 {
		forks.Go(func() { // ends after its forks; waited for below
			for range 50 {
				l.lend()
				is("500")
				l.back()
			}
		})
	}
	forks.Wait()
	is("100")
	none := newScoreLender(Score{}) // nothing was lowered
	none.lend()
	none.back()
	none.close()
}
