package ecosystem

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// field is one row of the table: everything there is to say about a field of an
// app. Parsing, aliases, options of the command line, comparison of two apps
// and the documentation all come from it.
type field struct {
	group   string // what this field and those after it are about; "" = as the one before
	name    string
	aliases []string // camelCase forms of names and aliases are accepted too
	kind    valueKind
	def     string // the default, as shown
	example string // a value, as JSON
	doc     string // one line
	stage   stage
	flags   []option
	effort  Effort           // of a change; EffortNone = EffortRestart
	cluster bool             // it has an effect in cluster mode only
	raw     func(*draft) any // where the value goes when it needs more work, else at
	at      func(*App) any   // where the value lives in an App
}

// option is a field's form on the command line.
type option struct {
	name, short string
	set         string // value of an option that takes none: "true", "false"; "" = it takes one
	usage       string // "" = the field's doc
}

// stage says what becomes of a field.
type stage int

const (
	stageNow   stage = iota
	stageFixed       // accepted with a note: what it chooses is fixed here, doc says how
	stageNode        // of node or pm2's services: accepted, means nothing here
)

// valueKind is what a field's value may look like.
type valueKind int

const (
	anyValue valueKind = iota
	textValue
	pathValue
	boolValue
	countValue
	durationValue
	sizeValue
	shareValue
	wordsValue
	textsValue
	codesValue
	instancesValue
	modeValue
	signalValue
	umaskValue
	portValue
	varsValue
	inheritValue
	filterValue
	logFileValue
	logTypeValue
	scheduleValue
	portsValue
	balanceValue
	listenValue
	reloadValue
	drainValue
	standbyValue
	readyValue
	healthValue
	dependsValue
	onExitValue
	commandValue
	jobValue
	watchValue
	watchOptionsValue
	consulValue
	singletonValue
	rlimitsValue
	niceValue
	limitsValue
)

// String is the kind as the documentation names it.
func (k valueKind) String() string {
	return [...]string{
		anyValue:          "any",
		textValue:         "text",
		pathValue:         "path",
		boolValue:         "true or false",
		countValue:        "number",
		durationValue:     `milliseconds or text like "10s"`,
		sizeValue:         `bytes or text like "200M"`,
		shareValue:        `bytes or text like "200M", "50%"`,
		wordsValue:        "text or list of texts",
		textsValue:        "text or list of texts",
		codesValue:        "number or list of numbers",
		instancesValue:    `number or "max"`,
		modeValue:         `"fork" or "cluster"`,
		signalValue:       "signal",
		umaskValue:        "octal text",
		portValue:         "port number",
		varsValue:         "object of variables",
		inheritValue:      "true, false or list of names",
		filterValue:       "true, text or list of texts",
		logFileValue:      "true, false or path",
		logTypeValue:      `"raw" or "json"`,
		scheduleValue:     `cron text, "@daily" or "@every 1h"`,
		portsValue:        "port number or list of them",
		balanceValue:      `"even", "random" or "source"`,
		listenValue:       "text, object, or list of them",
		reloadValue:       "object",
		drainValue:        `object, "outside", "signal" or "off"`,
		standbyValue:      "object",
		readyValue:        `"message", "port", "health", "uptime", port number or object`,
		healthValue:       "text, port number or object",
		dependsValue:      "name, list of names or object",
		onExitValue:       `"ignore", "stop" or "restart"`,
		commandValue:      "command or object",
		jobValue:          "schedule or object",
		watchValue:        "true, path, list of paths or object",
		watchOptionsValue: "object",
		consulValue:       "true, false or object",
		singletonValue:    "key or object",
		rlimitsValue:      "object of limits",
		niceValue:         "number",
		limitsValue:       "object",
	}[k]
}

// names are all names of a field: its own, the aliases, their camelCase forms.
func (f *field) names() []string {
	var all []string
	for _, name := range append([]string{f.name}, f.aliases...) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
		if camel := camelCase(name); !slices.Contains(all, camel) {
			all = append(all, camel)
		}
	}
	return all
}

func camelCase(name string) string {
	parts := strings.Split(name, "_")
	for i, p := range parts[1:] {
		if p != "" {
			parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
		}
	}
	return strings.Join(parts, "")
}

// byName finds a field by any of its names; made when first needed.
var byName = sync.OnceValue(func() map[string]*field {
	index := make(map[string]*field, 4*len(table))
	for i := range table {
		for _, name := range table[i].names() {
			index[name] = &table[i]
		}
	}
	return index
})

// fieldNames are the names to suggest from, in the order of the table.
func fieldNames() []string {
	var all []string
	for i := range table {
		all = append(all, table[i].name)
		all = append(all, table[i].aliases...)
	}
	return all
}

// assign parses v into a field's place in d.
func (f *field) assign(d *draft, v *node, have room) (err error) {
	target := any(nil)
	if f.raw != nil {
		target = f.raw(d)
	} else {
		target = f.at(&d.app)
	}
	switch t := target.(type) {
	case *string:
		*t, err = f.parseString(v)
	case *bool:
		*t, err = parseBool(v)
	case *int:
		if f.kind == instancesValue {
			*t, err = parseInstances(v, have.cpus)
		} else {
			*t, err = parseCount(v)
		}
	case **int:
		parse := parseUmask
		if f.kind == niceValue {
			parse = parseNice
		}
		var n int
		n, err = parse(v)
		*t = &n
	case *int64:
		if f.kind == shareValue {
			*t, err = parseShare(v, have.memory)
		} else {
			*t, err = parseSize(v)
		}
	case *time.Duration:
		*t, err = parseDuration(v)
	case *[]string:
		if f.kind == wordsValue {
			*t, err = parseWords(v)
		} else {
			*t, err = parseTexts(v)
		}
	case *[]int:
		if f.kind == portsValue {
			*t, err = parsePorts(v)
		} else {
			*t, err = parseCodes(v)
		}
	case *Inherit:
		*t, err = parseInherit(v)
	case *filter:
		*t, err = parseFilter(v)
	case *layer:
		*t, err = parseVars(v)
	default:
		err = assignGroup(target, v)
	}
	return err
}

// assignGroup is assign for places that hold more than one value.
func assignGroup(target any, v *node) (err error) {
	switch t := target.(type) {
	case *[]Listen:
		*t, err = parseListens(v)
	case *Reload:
		*t, err = parseReload(v, *t)
	case *Drain:
		*t, err = parseDrain(v, *t)
	case *Standby:
		*t, err = parseStandby(v)
	default:
		err = assignLife(target, v)
	}
	return err
}

func (f *field) parseString(v *node) (string, error) {
	switch f.kind {
	case signalValue:
		return parseSignal(v)
	case modeValue:
		return parseMode(v)
	case portValue:
		return parsePort(v)
	case logFileValue:
		return parseLogFile(v)
	case logTypeValue:
		return parseLogType(v)
	case scheduleValue:
		return parseScheduleText(v)
	case balanceValue:
		return parseBalance(v)
	case onExitValue:
		return parseOnExit(v)
	}
	s, err := parseText(v)
	if err == nil && s == "" && f.name != "log_date_format" {
		err = fmt.Errorf("is empty")
	}
	return s, err
}

// show is a field's value in an app, for a person and for comparing: equal
// values show equal, different ones differently.
func (f *field) show(a *App) string {
	switch t := f.at(a).(type) {
	case *string:
		return *t
	case *bool:
		return strconv.FormatBool(*t)
	case *int:
		return strconv.Itoa(*t)
	case **int:
		if *t == nil {
			return ""
		}
		if f.kind == niceValue {
			return strconv.Itoa(**t)
		}
		return fmt.Sprintf("%03o", **t)
	case *int64:
		return showSize(*t)
	case *time.Duration:
		return t.String()
	case *[]string:
		words := *t
		if f.kind == filterValue { // null variables are compared as variables
			words = slices.DeleteFunc(slices.Clone(words), func(s string) bool { _, ok := wholeName(s); return ok })
		}
		return joinWords(words)
	case *[]int:
		return strings.Trim(fmt.Sprint(*t), "[]")
	case *Inherit:
		if t.All || len(t.Names) == 0 {
			return strconv.FormatBool(t.All)
		}
		return joinWords(slices.Sorted(slices.Values(t.Names)))
	}
	return showGroup(f.at(a))
}

// showGroup is show for places that hold more than one value.
func showGroup(at any) string {
	switch t := at.(type) {
	case *[]Listen:
		var all []string
		for _, l := range *t {
			all = append(all, strings.TrimSpace(l.Network+":"+l.Address+" "+l.Name))
		}
		return strings.Join(all, ", ")
	case *Reload:
		return fmt.Sprintf("surge %d, unavailable %d, canary %v", t.Surge, t.Unavailable, t.Canary)
	case *Drain:
		return fmt.Sprintf("%s, timeout %v, idle %v", t.Mode, t.Timeout, t.Idle)
	case *Standby:
		if !t.Promote.IsSet() && !t.Demote.IsSet() {
			return ""
		}
		b, _ := json.Marshal(t) // texts and numbers always marshal
		return string(b)
	}
	return showLife(at)
}

func showSize(n int64) string {
	for _, u := range []struct {
		shift int
		name  string
	}{{30, "G"}, {20, "M"}, {10, "K"}} {
		if n > 0 && n%(1<<u.shift) == 0 {
			return strconv.FormatInt(n>>u.shift, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
