package ecosystem

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file turns the values of the fields of Life into Go values, like values.go.

// said is what these fields said that finish makes something of.
type said struct {
	waitReady  bool
	usualReady bool // nobody said what makes it ready
	watch      watching
	ignore     []string
	delay      time.Duration
	options    watchOptions
	needs      []need
}

// assignLife is assign for the fields of Life that hold more than one value.
func assignLife(target any, v *node) (err error) {
	switch t := target.(type) {
	case *Ready:
		*t, err = parseReady(v, *t)
	case *Health:
		*t, err = parseHealth(v)
	case *[]need:
		*t, err = parseNeeds(v)
	case *Hook:
		*t, err = parseCommand(v)
	case *Times:
		*t, err = parseJob(v, *t)
	case *watching:
		*t, err = parseWatch(v)
	case *watchOptions:
		*t, err = parseWatchOptions(v)
	case *Consul:
		*t, err = parseConsul(v, *t)
	case *Singleton:
		*t, err = parseSingleton(v)
	default:
		err = assignBounds(target, v)
	}
	return err
}

// parseReady takes "message", a port, {"log": "regexp"} and the like over what the app
// has: how long it may take is another field.
func parseReady(v *node, to Ready) (Ready, error) {
	to.By, to.Log, to.Port = "", "", 0
	if v.kind == kindObject {
		err := takeParts(v, `{"log": "listening on"}`,
			part{"log", takes(&to.Log, parsePattern)}, part{"port", takes(&to.Port, parsePortNumber)})
		switch {
		case err != nil:
		case to.Log == "" && to.Port == 0:
			err = fmt.Errorf(`want what it becomes ready by: {"log": "listening on"} or {"port": 3000}`)
		case to.Log != "" && to.Port != 0:
			err = fmt.Errorf("want log or port, not both")
		case to.Log != "":
			to.By = ReadyLog
		default:
			to.By = ReadyPort
		}
		return to, err
	}
	if port, err := parsePortNumber(v); err == nil {
		to.By, to.Port = ReadyPort, port
		return to, nil
	}
	if v.kind == kindText && slices.Contains([]string{ReadyMessage, ReadyPort, ReadyHealth, ReadyUptime}, v.text) {
		to.By = v.text
		return to, nil
	}
	return to, fmt.Errorf(`want "message", "port", "health", "uptime", a port number or {"log": "regexp"}, got %s`, v.describe())
}

// parsePattern takes a regular expression.
func parsePattern(v *node) (string, error) {
	s, err := parseFilled(v)
	if err != nil {
		return s, err
	}
	if _, err := regexp.Compile(s); err != nil {
		return "", fmt.Errorf("want a regular expression, got %s: %s", v.describe(), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return s, nil
}

const healthLike = `{"http": "http://127.0.0.1:{port}/health", "interval": "10s"}`

// usualHealth is a health field that says nothing.
func usualHealth() Health {
	return Health{Interval: 10 * time.Second, Timeout: 3 * time.Second, Retries: 3, OnFail: OnFailMark}
}

// parseHealth takes an object, or its check alone: a URL, a port or a command.
func parseHealth(v *node) (Health, error) {
	h := usualHealth()
	switch {
	case v.kind == kindBool && v.text == "false":
		return Health{}, nil
	case v.kind == kindNumber || v.kind == kindText && isDigits(v.text):
		err := takes(&h.TCP, parseTarget)(v)
		return h, err
	case v.kind == kindText && strings.Contains(strings.SplitN(v.text, " ", 2)[0], "://"): // and one of another kind is told
		err := h.HTTP.parseCheck(v)
		return h, err
	case v.kind == kindText:
		err := takes(&h.Exec, parseFilled)(v)
		return h, err
	}
	var checks []string
	check := func(name string, take func(*node) error) part {
		return part{name, func(v *node) error { checks = append(checks, name); return take(v) }}
	}
	err := takeParts(v, healthLike,
		check("http", h.HTTP.parseCheck),
		check("tcp", takes(&h.TCP, parseTarget)),
		check("exec", takes(&h.Exec, parseFilled)),
		part{"interval", takes(&h.Interval, parseLasting(minReady))},
		part{"timeout", takes(&h.Timeout, parseLasting(time.Millisecond))},
		part{"retries", takes(&h.Retries, parseRetries)},
		part{"start_period", takes(&h.StartPeriod, parseDuration)},
		part{"on_fail", takes(&h.OnFail, parseOnFail)},
		part{"watchdog", takes(&h.Watchdog, parseLasting(minReady))})
	switch {
	case err != nil:
	case len(checks) > 1:
		err = fmt.Errorf("want one of http, tcp and exec, not %s", strings.Join(checks, " and "))
	case len(checks) == 0 && h.Watchdog == 0:
		err = fmt.Errorf("want something to check: http, tcp, exec or watchdog, like %s", healthLike)
	}
	return h, err
}

// parseCheck takes the request of a check: a URL, or an object.
func (h *Hook) parseCheck(v *node) (err error) {
	if v.kind != kindObject {
		h.Method = "GET"
		h.URL, err = parseURL(v)
		return err
	}
	return h.parseRequest(v, "GET")
}

func isDigits(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// parseTarget takes what a check connects with: "127.0.0.1:{port}", or a port of this
// machine.
func parseTarget(v *node) (string, error) {
	bad := fmt.Errorf(`want a port or an address like "127.0.0.1:%s", got %s`, PortMark, v.describe())
	if v.kind != kindText && v.kind != kindNumber {
		return "", bad
	}
	s := v.text
	if !strings.Contains(s, ":") {
		s = "127.0.0.1:" + s
	} else if s[0] == ':' {
		s = "127.0.0.1" + s
	}
	host, port, err := net.SplitHostPort(strings.ReplaceAll(s, PortMark, "1"))
	if err != nil || host == "" || strings.ContainsAny(host, " /\x00") {
		return "", bad
	}
	if _, err := parsePortNumber(textNode(port)); err != nil {
		return "", bad
	}
	return s, nil
}

// parseLasting makes a function that takes durations that are not shorter than that.
func parseLasting(least time.Duration) func(*node) (time.Duration, error) {
	return func(v *node) (time.Duration, error) {
		t, err := parseDuration(v)
		if text := atLeast(t, least, false); err == nil && text != "" {
			err = fmt.Errorf("%s", text)
		}
		return t, err
	}
}

func parseRetries(v *node) (int, error) {
	n, err := parseInt(v)
	if err == nil && n < 1 {
		err = fmt.Errorf("want 1 or more, got %d", n)
	}
	return n, err
}

func parseOnFail(v *node) (string, error) {
	return parseWord(v, OnFailMark, OnFailRestart)
}

// parseNeeds takes a name, a list of names, or an object of what they have to be.
func parseNeeds(v *node) (all []need, err error) {
	var wrong partErrors
	add := func(path, name, until string, at place, err error) {
		if err == nil && v.kind == kindList && slices.ContainsFunc(all, func(n need) bool { return n.App == name }) {
			err = fmt.Errorf("%q is in the list already", name)
		}
		if err == nil {
			err = checkName(name)
		}
		wrong.add(path, at, err)
		all = append(all, need{Dependency{name, until}, path, at})
	}
	switch v.kind {
	case kindText:
		add("", v.text, UntilReady, v.place, nil)
	case kindList:
		for i, item := range v.items {
			name, err := parseText(item)
			add("["+strconv.Itoa(i)+"]", name, UntilReady, item.place, err)
		}
	case kindObject:
		for _, m := range v.members {
			until, err := parseUntil(m.value)
			add("."+join("", m.name), m.name, until, m.value.place, err)
		}
	default:
		return nil, fmt.Errorf(`want names of apps like ["db"] or {"db": "ready"}, got %s`, v.describe())
	}
	slices.SortFunc(all, func(a, b need) int { return strings.Compare(a.App, b.App) })
	return all, wrong.result()
}

func parseUntil(v *node) (string, error) {
	return parseWord(v, UntilReady, UntilHealthy, UntilStarted, UntilCompleted)
}

// parseOnExit takes what is done; ignore is what an app has that says nothing.
func parseOnExit(v *node) (string, error) {
	return parseUnusual(v, OnExitIgnore, OnExitStop, OnExitRestart)
}

// parseCommand takes a command for a shell, or an object with a timeout, too. Without
// one it has none: commands decides.
func parseCommand(v *node) (h Hook, err error) {
	switch v.kind {
	case kindBool:
		if v.text == "false" {
			return h, nil
		}
	case kindText:
		h.Exec, err = parseFilled(v)
		return h, err
	case kindObject:
		err = takeParts(v, `{"exec": "./announce", "timeout": "5s"}`,
			part{"exec", takes(&h.Exec, parseFilled)}, part{"timeout", takes(&h.Timeout, parseLasting(time.Millisecond))})
		if err == nil && h.Exec == "" {
			err = fmt.Errorf(`it has no exec: say what to run, like {"exec": "./announce", "timeout": "5s"}`)
		}
		return h, err
	}
	return h, fmt.Errorf(`want a command like "./announce" or {"exec": "./announce", "timeout": "5s"}, got %s`, v.describe())
}

// parseJob takes when a job runs, or an object that says more; cron_restart stays.
func parseJob(v *node, to Times) (Times, error) {
	to = Times{Restart: to.Restart}
	if v.kind != kindObject {
		err := takes(&to.Schedule, parseScheduleText)(v)
		return to, err
	}
	err := takeParts(v, `{"at": "0 3 * * *", "overlap": "skip", "timeout": "10m"}`,
		part{"at", takes(&to.Schedule, parseScheduleText)},
		part{"overlap", takes(&to.Overlap, parseOverlap)},
		part{"timeout", takes(&to.Timeout, parseDuration)})
	if err == nil && to.Schedule == "" {
		err = fmt.Errorf(`it has no at: say when it runs, like {"at": "0 3 * * *"}`)
	}
	return to, err
}

// parseOverlap takes what becomes of a run that is due too early; skip is what a job
// has that says nothing.
func parseOverlap(v *node) (string, error) {
	return parseUnusual(v, OverlapSkip, OverlapQueue, OverlapKill)
}
