package ecosystem

import (
	"os"
	"strings"
	"testing"
)

// Who comes from pm2 finds every field that has no effect, or none yet, in
// docs/from-pm2.md.
func TestFieldsAreInFromPM2(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/from-pm2.md")
	if err != nil {
		t.Fatal(err)
	}
	for i := range table {
		if f := &table[i]; f.stage != stageNow && !strings.Contains(string(text), "`"+f.name+"`") {
			t.Errorf("docs/from-pm2.md does not mention %s", f.name)
		}
	}
}
