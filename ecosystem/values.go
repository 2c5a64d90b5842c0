package ecosystem

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// This file turns single values into Go values. All functions are pure; their
// errors end up behind "apps[0].field: ".

func jsonString(s string) string {
	b, _ := json.Marshal(s) // a string always marshals
	return string(b)
}

func parseText(v *node) (string, error) {
	if !v.isScalar() {
		return "", fmt.Errorf("want a text, got %s", v.describe())
	}
	if strings.ContainsRune(v.text, 0) {
		return "", fmt.Errorf("a zero byte can't be in it: %s", quote(v.text))
	}
	return v.text, nil
}

func parseBool(v *node) (bool, error) {
	switch {
	case v.kind != kindBool && v.kind != kindText:
	case v.text == "true":
		return true, nil
	case v.text == "false":
		return false, nil
	}
	return false, fmt.Errorf("want true or false, got %s", v.describe())
}

// parseInt takes whole numbers, also written as text or as 1e3.
func parseInt(v *node) (int, error) {
	if v.kind == kindNumber || v.kind == kindText {
		s := strings.TrimSpace(v.text)
		if n, err := strconv.Atoi(s); err == nil {
			return n, nil
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return int(f), nil
		}
	}
	return 0, fmt.Errorf("want a whole number, got %s", v.describe())
}

func parseCount(v *node) (int, error) {
	n, err := parseInt(v)
	if err == nil && n < 0 {
		err = fmt.Errorf("want 0 or more, got %d", n)
	}
	return n, err
}

func parsePort(v *node) (string, error) {
	n, err := parseInt(v)
	if err == nil && (n < 0 || n > 65535) {
		err = fmt.Errorf("want a port from 0 to 65535, got %d", n)
	}
	return strconv.Itoa(n), err
}

// parseDuration takes 3000 and "3000" (milliseconds), "100ms", "10s", "1.5m", "1h".
func parseDuration(v *node) (time.Duration, error) {
	bad := fmt.Errorf(`want milliseconds or a text like "500ms", "10s", "5m", "1h", got %s`, v.describe())
	if v.kind != kindNumber && v.kind != kindText {
		return 0, bad
	}
	number, unit := splitUnit(v.text)
	var one time.Duration
	switch unit {
	case "", "ms":
		one = time.Millisecond
	case "s":
		one = time.Second
	case "m":
		one = time.Minute
	case "h":
		one = time.Hour
	case "d":
		one = 24 * time.Hour
	default:
		return 0, bad
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f < 0 || f*float64(one) > float64(math.MaxInt64/2) {
		return 0, bad
	}
	return time.Duration(math.Round(f * float64(one))), nil
}

// parseSize takes bytes or a text like "200K", "300MB", "1.5G" (powers of 1024).
func parseSize(v *node) (int64, error) {
	bad := fmt.Errorf(`want bytes or a text like "200K", "300M", "1G", got %s`, v.describe())
	if v.kind != kindNumber && v.kind != kindText {
		return 0, bad
	}
	number, unit := splitUnit(v.text)
	shift := 0
	switch strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(unit), "B"), "I") {
	case "":
	case "K":
		shift = 10
	case "M":
		shift = 20
	case "G":
		shift = 30
	case "T":
		shift = 40
	default:
		return 0, bad
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || f < 0 || f*float64(int64(1)<<shift) > 1<<60 {
		return 0, bad
	}
	return int64(f * float64(int64(1)<<shift)), nil
}

// parseShare takes a size, or a percentage of the memory that there is.
func parseShare(v *node, memory int64) (int64, error) {
	number, unit := splitUnit(v.text)
	if unit != "%" || v.kind != kindText {
		return parseSize(v)
	}
	percent, err := strconv.ParseFloat(number, 64)
	switch {
	case err != nil || percent <= 0 || percent > 100:
		return 0, fmt.Errorf("want more than 0%% and at most 100%%, got %s", v.describe())
	case memory <= 0:
		return 0, fmt.Errorf(`how much memory there is can't be read: want bytes or a text like "300M", got %s`, v.describe())
	}
	return max(int64(percent/100*float64(memory)), 1), nil
}

// splitUnit parts "10 MB" into "10" and "MB". A number is digits and one point:
// no sign, no exponent, no Inf.
func splitUnit(s string) (number, unit string) {
	s = strings.TrimSpace(s)
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		return s, ""
	}
	return s[:end], strings.TrimSpace(s[end:])
}

// parseTexts takes a list of texts, or one text as a list of one.
func parseTexts(v *node) ([]string, error) {
	if v.kind != kindList {
		s, err := parseText(v)
		if err != nil {
			return nil, fmt.Errorf("want a text or a list of texts, got %s", v.describe())
		}
		return []string{s}, nil
	}
	var all []string
	for i, item := range v.items {
		s, err := parseText(item)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", i, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// parseWords takes arguments: a list, or one text split as a shell would.
func parseWords(v *node) ([]string, error) {
	if v.kind != kindText {
		return parseTexts(v)
	}
	if strings.ContainsRune(v.text, 0) {
		return nil, fmt.Errorf("a zero byte can't be in it: %s", quote(v.text))
	}
	return splitWords(v.text)
}

// parseCodes takes exit codes: 0, [0, 2] or "0,2".
func parseCodes(v *node) ([]int, error) {
	items := v.items
	if v.kind == kindText {
		for _, s := range strings.FieldsFunc(v.text, func(r rune) bool { return r == ',' || r == ' ' }) {
			items = append(items, textNode(s))
		}
	} else if v.kind != kindList {
		items = []*node{v}
	}
	var codes []int
	for _, item := range items {
		n, err := parseInt(item)
		if err != nil || n < 0 || n > 255 {
			return nil, fmt.Errorf("want exit codes from 0 to 255, got %s", item.describe())
		}
		codes = append(codes, n)
	}
	slices.Sort(codes)
	return slices.Compact(codes), nil
}

// maxInstances is far above what anybody wants and below what hurts the machine
// when a digit too many was typed.
const maxInstances = 4096

// parseInstances takes a number, "max" or 0 (one per CPU), or -n (all CPUs but n).
func parseInstances(v *node, cpus int) (int, error) {
	if v.kind == kindText && v.text == "max" {
		return max(cpus, 1), nil
	}
	n, err := parseInt(v)
	if err != nil {
		return 0, fmt.Errorf(`want a number or "max", got %s`, v.describe())
	}
	if n > maxInstances {
		return 0, fmt.Errorf("want at most %d, got %d", maxInstances, n)
	}
	if n <= 0 {
		n = cpus + n
	}
	return max(n, 1), nil
}

// parseMode takes fork and cluster, also with pm2's suffix _mode.
func parseMode(v *node) (string, error) {
	switch mode := strings.TrimSuffix(v.text, "_mode"); {
	case v.kind == kindText && (mode == "fork" || mode == "cluster"):
		return mode, nil
	}
	return "", fmt.Errorf(`want "fork" or "cluster", got %s`, v.describe())
}

// parseSignal takes "SIGTERM", "term" or 15 and gives "SIGTERM".
func parseSignal(v *node) (string, error) {
	if n, err := parseInt(v); err == nil {
		if name := unix.SignalName(unix.Signal(n)); name != "" {
			return name, nil
		}
	}
	if v.kind == kindText {
		name := "SIG" + strings.TrimPrefix(strings.ToUpper(v.text), "SIG")
		if n := unix.SignalNum(name); n != 0 {
			return unix.SignalName(n), nil
		}
	}
	return "", fmt.Errorf(`want a signal like "SIGTERM", "SIGINT" or "SIGQUIT", got %s`, v.describe())
}

// parseLogFile takes a path, true (the default path) or false. The daemon reads
// no path "default" in it: those are absolute by then.
func parseLogFile(v *node) (string, error) {
	if on, err := parseBool(v); err == nil {
		if on {
			return DefaultLog, nil
		}
		return "", nil
	}
	s, err := parseText(v)
	switch {
	case err != nil || v.kind != kindText:
		return "", fmt.Errorf("want a path, true or false, got %s", v.describe())
	case s == "":
		return "", fmt.Errorf("is empty")
	case s == "NULL" || s == "/dev/null":
		return "", nil
	case s == DefaultLog:
		return "./" + DefaultLog, nil
	}
	return s, nil
}

// parseLogType takes raw and json; raw is what an app has that says nothing.
func parseLogType(v *node) (string, error) {
	return parseUnusual(v, "raw", "json")
}

// parseWord takes one of some words.
func parseWord(v *node, words ...string) (string, error) {
	if v.kind == kindText && slices.Contains(words, v.text) {
		return v.text, nil
	}
	last := len(words) - 1
	return "", fmt.Errorf(`want "%s" or "%s", got %s`, strings.Join(words[:last], `", "`), words[last], v.describe())
}

// parseUnusual is parseWord for a field of which an app has nothing where it is usual.
func parseUnusual(v *node, usual string, others ...string) (string, error) {
	word, err := parseWord(v, append([]string{usual}, others...)...)
	if word == usual {
		word = ""
	}
	return word, err
}

// parseScheduleText takes the text of a schedule, and pm2's ways to say none.
func parseScheduleText(v *node) (string, error) {
	if v.isScalar() && (v.text == "" || v.text == "0" || v.text == "false") {
		return "", nil
	}
	if v.kind != kindText {
		return "", fmt.Errorf(`want a schedule like "0 3 * * *", "@daily" or "@every 1h", got %s`, v.describe())
	}
	_, err := ParseSchedule(v.text)
	return v.text, err
}

// parseUmask takes octal text. Of numbers only 0 and those written octal are
// taken: 22 may be meant as 022, and nobody can know.
func parseUmask(v *node) (int, error) {
	s := v.text
	octal := v.kind == kindText || v.kind == kindNumber && strings.HasPrefix(s, "0")
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if !octal || err != nil || n > 0o777 {
		return 0, fmt.Errorf(`want octal digits in quotes like "022", got %s`, v.describe())
	}
	return int(n), nil
}
