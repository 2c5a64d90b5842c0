package ecosystem

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file turns what an app says about Consul and about other machines into Go
// values, like values.go. Where Consul's own tools have another word for a part, that is
// taken, too.

const consulLike = `{"service": "web", "tags": ["v1"], "env": "apps/web/env"}`

// usualConsul is `consul: true`. The service's name is the app's, which isn't known here.
func usualConsul() Consul {
	return Consul{
		On:      true,
		Service: ConsulService{WeightPassing: 1, WeightWarning: 1, DeregisterAfter: 10 * time.Minute},
		Config:  ConsulConfig{OnChange: OnChangeReload, Debounce: 500 * time.Millisecond},
	}
}

// parseConsul takes true, false or an object, whose parts are laid over to one by one.
func parseConsul(v *node, to Consul) (Consul, error) {
	if on, err := parseBool(v); err == nil {
		switch {
		case !on:
			return Consul{}, nil
		case !to.On:
			to = usualConsul()
		}
		return to, nil
	}
	if v.kind != kindObject {
		return to, fmt.Errorf("want true, false or an object like %s, got %s", consulLike, v.describe())
	}
	if !to.On {
		to = usualConsul()
	}
	s, c := &to.Service, &to.Config
	err := takeParts(v, consulLike, slices.Concat(s.parts(), c.parts(), []part{
		{"agent", takes(&to.Agent, parseAgent)},
		{"fleet", takes(&to.Fleet, parseBool)}})...)
	if err == nil && s.Off {
		err = uselessParts(v, to.Service)
	}
	return to, err
}

// parts are what an object says about the registration.
func (s *ConsulService) parts() []part {
	weights := func(v *node) error {
		passing, warning := 1, 1
		err := takeParts(v, `{"passing": 10, "warning": 1}`,
			part{"passing", takes(&passing, parseBetween(1, 65535))}, part{"warning", takes(&warning, parseBetween(0, 65535))})
		s.WeightPassing, s.WeightWarning = passing, warning
		return err
	}
	return slices.Concat([]part{
		{"service", s.parseService},
		{"tags", takes(&s.Tags, parseTags)},
		{"meta", takes(&s.Meta, parseMeta)},
		{"address", takes(&s.Address, parseServiceHost)},
		{"port", takes(&s.Port, parsePortNumber)},
		{"weights", weights},
		{"deregister_delay", takes(&s.DeregisterDelay, parseDuration)}},
		named(takes(&s.DeregisterAfter, parseLasting(time.Minute)), "deregister_after", "deregister_critical_service_after"),
		named(takes(&s.Checks, parseChecks), "checks", "check"))
}

// parts are what an object says about values that come from Consul.
func (c *ConsulConfig) parts() []part {
	return []part{
		{"env", takes(&c.Env, parseKey)},
		{"files", takes(&c.Files, parseConsulFiles)},
		{"on_change", takes(&c.OnChange, parseOnChange)},
		{"debounce", takes(&c.Debounce, parseDuration)},
		{"allow", takes(&c.Allow, parseVarNames)}}
}

// named is a part that goes by several names, of which one may be given.
func named(take func(*node) error, names ...string) []part {
	var parts []part
	first := ""
	for _, name := range names {
		parts = append(parts, part{name, func(v *node) error {
			if first != "" {
				return fmt.Errorf("is the same as %q, which is given too", first)
			}
			first = name
			return take(v)
		}})
	}
	return parts
}

// uselessParts says which parts of an object do nothing, since nothing is registered.
func uselessParts(v *node, s ConsulService) error {
	var wrong partErrors
	for _, m := range v.members {
		if isPart(m.name, s.parts()) && m.name != "service" && m.value.kind != kindNull {
			wrong.add("."+m.name, m.place, fmt.Errorf("no effect, since nothing is registered (service: false): leave one of them out"))
		}
	}
	return wrong.result()
}

// parseBetween makes a function that takes whole numbers from least to most.
func parseBetween(least, most int) func(*node) (int, error) {
	return func(v *node) (int, error) {
		n, err := parseInt(v)
		if text := inRange(n, least, most); err == nil && text != "" {
			err = fmt.Errorf("%s", text)
		}
		return n, err
	}
}

// parseService takes the name under which instances are registered, true for the app's,
// or false for none.
func (s *ConsulService) parseService(v *node) error {
	if on, err := parseBool(v); err == nil {
		s.Off, s.Name = !on, ""
		return nil
	}
	s.Off, s.Name = false, v.text
	switch err := checkServiceName(s.Name); {
	case v.kind != kindText && v.kind != kindNumber:
		return fmt.Errorf("want a name or false, got %s", v.describe())
	default:
		return err
	}
}

// maxServiceName is what fits between two points of a name in DNS.
const maxServiceName = 63

// checkServiceName refuses what DNS can't find.
func checkServiceName(name string) error {
	switch at := strings.IndexFunc(name, notInService); {
	case at >= 0:
		c := []rune(name[at:])[0]
		return fmt.Errorf("%s has %q, which a name in DNS can't have: write it with letters, digits and dashes%s", quote(name), c, insteadOf(name))
	case name == "" || name[0] == '-' || name[len(name)-1] == '-':
		return fmt.Errorf("want a name of letters, digits and dashes that begins and ends with no dash, got %s", quote(name))
	case len(name) > maxServiceName:
		return fmt.Errorf("a name in DNS can have at most %d letters, this has %d", maxServiceName, len(name))
	}
	return nil
}

func insteadOf(name string) string {
	if good := serviceName(name); good != "" {
		return ", like " + strconv.Quote(good)
	}
	return ""
}

func notInService(r rune) bool { return !isLetter(r) && (r < '0' || r > '9') && r != '-' }

// serviceName is the name of a service that is nearest to an app's; "" = there is none.
func serviceName(app string) string {
	words := strings.FieldsFunc(app, func(r rune) bool { return r == '-' || notInService(r) })
	name := strings.Join(words, "-")
	return strings.Trim(name[:min(len(name), maxServiceName)], "-")
}

// parseTags takes a list of tags, or one.
func parseTags(v *node) ([]string, error) {
	return parseEach(v, func(v *node) (string, error) {
		s, err := parseFilled(v)
		if err == nil && !isPrintable(s) {
			err = fmt.Errorf("a tag can't have control characters")
		}
		return s, err
	})
}

// parseEach takes a list of values, or one of them.
func parseEach[T any](v *node, parse func(*node) (T, error)) ([]T, error) {
	if v.kind != kindList {
		one, err := parse(v)
		return []T{one}, err
	}
	var all []T
	var wrong partErrors
	for i, item := range v.items {
		one, err := parse(item)
		wrong.add("["+strconv.Itoa(i)+"]", item.place, err)
		all = append(all, one)
	}
	return all, wrong.result()
}

// What Consul takes as a service's meta. Some pairs are left to gopm.
const (
	maxMeta      = 64 - 8
	maxMetaName  = 128
	maxMetaValue = 512
)

// parseMeta takes an object of texts.
func parseMeta(v *node) (map[string]string, error) {
	if v.kind != kindObject {
		return nil, fmt.Errorf(`want an object of texts like {"version": "1.2"}, got %s`, v.describe())
	}
	if n := len(v.members); n > maxMeta {
		return nil, fmt.Errorf("want at most %d pairs, got %d", maxMeta, n)
	}
	all := map[string]string{}
	var wrong partErrors
	for _, m := range v.members {
		value, err := parseText(m.value)
		switch bad := strings.IndexFunc(m.name, func(r rune) bool { return r != '_' && notInService(r) }); {
		case err != nil:
		case m.name == "" || bad >= 0 || len(m.name) > maxMetaName:
			err = fmt.Errorf("want a name of up to %d letters, digits, dashes and underscores", maxMetaName)
		case strings.HasPrefix(m.name, "gopm_"), strings.HasPrefix(m.name, "consul-"):
			err = fmt.Errorf("%s… is what others write there: give it another name", m.name[:strings.IndexAny(m.name, "_-")+1])
		case len(value) > maxMetaValue:
			err = fmt.Errorf("a value can have at most %d bytes, this has %d", maxMetaValue, len(value))
		}
		wrong.add("."+join("", m.name), m.value.place, err)
		all[m.name] = value
	}
	return all, wrong.result()
}

// parseServiceHost takes an address, or a name that stands for one.
func parseServiceHost(v *node) (string, error) {
	s, err := parseText(v)
	if err == nil && (s == "" || strings.ContainsAny(s, " /\t\r\n") || strings.Contains(s, ":") && net.ParseIP(s) == nil) {
		err = fmt.Errorf(`want an address or a name without a port like "10.0.0.5", got %s`, v.describe())
	}
	return s, err
}

const agentLike = `"http://127.0.0.1:8500" or {"address": "127.0.0.1:8500", "token_file": "consul.token"}`

// parseAgent takes where the agent is, or an object that says more. Its paths are still
// as written.
func parseAgent(v *node) (a ConsulAgent, err error) {
	if v.kind != kindObject {
		a.Address, err = parseAgentAddress(v)
		return a, err
	}
	text := func(to *string) func(*node) error { return takes(to, parseFilled) }
	err = takeParts(v, agentLike, slices.Concat([]part{
		{"token", text(&a.Token)},
		{"token_file", text(&a.TokenFile)},
		{"namespace", text(&a.Namespace)},
		{"partition", text(&a.Partition)},
		{"ca_file", text(&a.CAFile)},
		{"ca_path", text(&a.CAPath)}},
		named(takes(&a.Address, parseAgentAddress), "address", "http_addr"),
		named(text(&a.Datacenter), "datacenter", "dc"),
		named(text(&a.CertFile), "cert_file", "client_cert"),
		named(text(&a.KeyFile), "key_file", "client_key"),
		named(text(&a.ServerName), "server_name", "tls_server_name"),
		named(takes(&a.Insecure, parseBool), "insecure", "tls_skip_verify", "insecure_skip_verify"))...)
	switch {
	case err != nil:
	case a.Token != "" && a.TokenFile != "":
		err = fmt.Errorf("want token or token_file, not both")
	case (a.CertFile == "") != (a.KeyFile == ""):
		err = fmt.Errorf("cert_file and key_file need each other: give both")
	}
	return a, err
}

// parseAgentAddress takes what CONSUL_HTTP_ADDR may be.
func parseAgentAddress(v *node) (string, error) {
	bad := fmt.Errorf(`want an address like "127.0.0.1:8500", "https://consul:8501" or "unix:///run/consul.sock", got %s`, v.describe())
	s, err := parseText(v)
	if err != nil || v.kind != kindText {
		return "", bad
	}
	if path, is := strings.CutPrefix(s, "unix://"); is {
		if !strings.HasPrefix(path, "/") {
			return "", bad
		}
		return s, nil
	}
	whole := s
	if !strings.Contains(s, "://") {
		whole = "http://" + s
	}
	u, err := url.Parse(whole)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery+u.Fragment != "" || u.Path != "" && u.Path != "/":
		return "", bad
	case u.User != nil:
		return "", fmt.Errorf("a password can't be in it: give a token or a token_file")
	case u.Port() == "":
		return "", fmt.Errorf("%s has no port: Consul's is 8500, like %q", quote(s), strings.TrimSuffix(s, "/")+":8500")
	}
	return strings.TrimSuffix(s, "/"), nil
}

// parseKey takes the name of a key, or what the names of several begin with.
func parseKey(v *node) (string, error) {
	s, err := parseText(v)
	switch {
	case err != nil:
	case v.kind != kindText || strings.Trim(s, "/") == "" || !isPrintable(s):
		err = fmt.Errorf(`want a key like "apps/web/env", got %s`, v.describe())
	case s[0] == '/':
		err = fmt.Errorf(`a key of Consul doesn't begin with "/": write %s`, quote(strings.TrimLeft(s, "/")))
	}
	return s, err
}

// parseConsulFiles takes an object of paths and the keys whose values they hold. The
// paths are still as written.
func parseConsulFiles(v *node) (all []ConsulFile, err error) {
	const like = `{"config.json": "apps/web/config"}`
	if v.kind != kindObject {
		return nil, fmt.Errorf("want an object of paths and keys like %s, got %s", like, v.describe())
	}
	var wrong partErrors
	for _, m := range v.members {
		f := ConsulFile{Path: m.name}
		switch {
		case m.name == "" || strings.HasSuffix(m.name, "/"):
			err = fmt.Errorf("want the path of a file, like %s", like)
		case m.value.kind == kindObject:
			err = f.parse(m.value)
		default:
			err = takes(&f.Key, parseKey)(m.value)
		}
		wrong.add("."+join("", m.name), m.value.place, err)
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b ConsulFile) int { return cmp.Compare(a.Path, b.Path) })
	return all, wrong.result()
}

func (f *ConsulFile) parse(v *node) error {
	const like = `{"key": "apps/web/config", "mode": "0640"}`
	err := takeParts(v, like,
		part{"key", takes(&f.Key, parseKey)}, part{"mode", takes(&f.Mode, parseFileMode)},
		part{"owner", takes(&f.Owner, parseFilled)}, part{"group", takes(&f.Group, parseFilled)})
	if err == nil && f.Key == "" {
		err = fmt.Errorf("it has no key: say whose value the file holds, like %s", like)
	}
	return err
}

func parseFileMode(v *node) (uint32, error) {
	mode, err := parseUmask(v)
	if err != nil || mode&0o400 == 0 {
		return 0, fmt.Errorf(`want octal digits in quotes like "0640", got %s`, v.describe())
	}
	return uint32(mode), nil
}

// parseOnChange takes what is done about changed values, or a signal.
func parseOnChange(v *node) (string, error) {
	if word, err := parseWord(v, OnChangeReload, OnChangeRestart, OnChangeNothing); err == nil {
		return word, nil
	}
	if signal, err := parseSignal(v); err == nil && v.kind == kindText {
		return signal, nil
	}
	return "", fmt.Errorf(`want "reload", "restart", "nothing" or a signal like "SIGHUP", got %s`, v.describe())
}

// parseVarNames takes names of variables.
func parseVarNames(v *node) ([]string, error) {
	names, err := parseEach(v, func(v *node) (string, error) {
		s, err := parseText(v)
		if err == nil {
			err = checkVar(s, "")
		}
		return s, err
	})
	slices.Sort(names)
	return slices.Compact(names), err
}

const singletonLike = `"locks/cron" or {"lock": "locks/cron", "mode": "cold"}`

// parseSingleton takes the key that is locked, or an object that says more; false is
// none. Without a mode it has none: fleet decides.
func parseSingleton(v *node) (s Singleton, err error) {
	if on, err := parseBool(v); err == nil && !on {
		return s, nil
	}
	s = Singleton{OnLost: OnLostStop, TTL: minSessionTTL}
	switch v.kind {
	case kindText:
		s.Lock, err = parseLock(v)
		return s, err
	case kindObject:
	default:
		return s, fmt.Errorf("want the key that is locked like %s, got %s", singletonLike, v.describe())
	}
	err = takeParts(v, singletonLike, slices.Concat([]part{
		{"mode", takes(&s.Mode, parseSingletonMode)},
		{"on_lost", takes(&s.OnLost, parseOnLost)},
		{"ttl", takes(&s.TTL, parseTTL)},
		{"signal", takes(&s.Signal, parseSignal)}},
		named(takes(&s.Lock, parseLock), "lock", "key"))...)
	if err == nil && s.Lock == "" {
		err = fmt.Errorf("it has no lock: say which key is locked, like %s", singletonLike)
	}
	return s, err
}

func parseSingletonMode(v *node) (string, error) {
	return parseWord(v, SingletonCold, SingletonHot, SingletonRole)
}

func parseOnLost(v *node) (string, error) { return parseWord(v, OnLostStop, OnLostKeep) }

// The shortest and the longest life without a renewal that Consul gives to a session.
const (
	minSessionTTL = 10 * time.Second
	maxSessionTTL = 24 * time.Hour
)

func parseTTL(v *node) (time.Duration, error) {
	t, err := parseLasting(minSessionTTL)(v)
	if err == nil && t > maxSessionTTL {
		err = fmt.Errorf("want at most %v, got %v", maxSessionTTL, t)
	}
	return t, err
}

// parseLock takes a key that can be locked.
func parseLock(v *node) (string, error) {
	s, err := parseKey(v)
	switch {
	case err != nil:
	case strings.HasSuffix(s, "/"):
		err = fmt.Errorf("want one key, not a folder: write %s", quote(strings.TrimRight(s, "/")))
	case strings.HasPrefix(s, "gopm/"):
		err = fmt.Errorf(`keys below "gopm/" are gopm's own: name another, like "locks/cron"`)
	}
	return s, err
}
