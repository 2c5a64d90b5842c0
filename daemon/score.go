package daemon

import (
	"os"
	"strconv"
	"strings"

	"gopm/daemon/supervise"
)

// Memory that runs out must not cost the process manager: keeper and daemon lower
// their oom_score_adj. What they had before travels in a variable from the keeper to
// every daemon and every later keeper, whoever starts whom, and to nobody else: apps
// have an environment of their own.
const (
	scoreFile     = "/proc/self/oom_score_adj"
	scoreVariable = "GOPM_OOM_SCORE_ADJ"

	// Not -1000, which is never: a gopm that eats all memory by a mistake of its own
	// should be ended, and is revived.
	scoreWanted = -900
)

// LowerOOMScore lowers the score of this process as far as it may: as root to what is
// wanted, else at best to what is usual. An error only means that it stays.
func LowerOOMScore() {
	now, ok := readScore()
	if !ok {
		return
	}
	if _, known := os.LookupEnv(scoreVariable); !known {
		_ = os.Setenv(scoreVariable, strconv.Itoa(now)) // the name is right
	}
	for _, wanted := range []int{scoreWanted, 0} {
		if now <= wanted || os.WriteFile(scoreFile, []byte(strconv.Itoa(wanted)), 0) == nil {
			return
		}
	}
}

// oomScore is ours, and what apps are to have.
func oomScore() supervise.Score {
	now, ok := readScore()
	original, err := strconv.Atoi(os.Getenv(scoreVariable))
	if !ok || err != nil {
		return supervise.Score{}
	}
	return supervise.Score{Original: strconv.Itoa(original), Own: strconv.Itoa(now)}
}

func readScore() (int, bool) {
	text, err := os.ReadFile(scoreFile)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return n, err == nil
}
