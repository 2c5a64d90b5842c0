package ecosystem

import "strings"

// nearest is the candidate that word was probably meant to be, "" when none is
// near enough.
func nearest(word string, candidates []string) string {
	best, bestDistance := "", 1+max(1, len(word)/3)
	plain := plainName(word)
	for _, c := range candidates {
		if plainName(c) == plain {
			return c
		}
		if d := distance(word, c, bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// plainName is a name without what people vary: case, dashes, underscores.
func plainName(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s))
}

// distance counts the edits (insert, remove, replace, swap of neighbours)
// between two names; it gives up with limit when that is reached for certain.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// didYouMean is the end of an error about an unknown word.
func didYouMean(word string, candidates []string) string {
	if s := nearest(word, candidates); s != "" {
		return `, did you mean "` + s + `"?`
	}
	return ""
}
