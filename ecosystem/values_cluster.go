package ecosystem

import (
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file turns the values of cluster mode's fields into Go values, like values.go.

// parsePortNumber takes a port that can be listened on and told to others.
func parsePortNumber(v *node) (int, error) {
	n, err := parseInt(v)
	if err != nil || n < 1 || n > maxPort {
		return 0, fmt.Errorf("want a port from 1 to %d, got %s", maxPort, v.describe())
	}
	return n, nil
}

// parsePorts takes ports: 3000, [3000, 3001] or "3000,3001".
func parsePorts(v *node) ([]int, error) {
	items := v.items
	if v.kind == kindText {
		for _, s := range strings.FieldsFunc(v.text, func(r rune) bool { return r == ',' || r == ' ' }) {
			items = append(items, &node{kind: kindText, text: s, place: v.place})
		}
	} else if v.kind != kindList {
		items = []*node{v}
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("want at least one port; leave it out to share all")
	}
	var ports []int
	var wrong partErrors
	for i, item := range items {
		n, err := parsePortNumber(item)
		if err != nil && v.kind != kindList {
			return nil, err
		}
		wrong.add("["+strconv.Itoa(i)+"]", item.place, err)
		ports = append(ports, n)
	}
	slices.Sort(ports)
	return slices.Compact(ports), wrong.result()
}

func parseBalance(v *node) (string, error) {
	return parseWord(v, BalanceEven, BalanceRandom, BalanceSource)
}

// parseListens takes one socket or a list of them; each is a text or an object with
// a name, too.
func parseListens(v *node) ([]Listen, error) {
	if v.kind != kindList {
		l, err := parseListen(v)
		return []Listen{l}, err
	}
	var all []Listen
	var wrong partErrors
	for i, item := range v.items {
		l, err := parseListen(item)
		if err == nil && slices.ContainsFunc(all, func(o Listen) bool { return o.Network == l.Network && o.Address == l.Address }) {
			err = fmt.Errorf("%s is in the list already", l.Address)
		}
		wrong.add("["+strconv.Itoa(i)+"]", item.place, err)
		all = append(all, l)
	}
	return all, wrong.result()
}

func parseListen(v *node) (l Listen, err error) {
	if v.kind != kindObject {
		return parseSocket(v)
	}
	name := ""
	err = takeParts(v, `{"address": ":3000", "name": "http"}`,
		part{"address", takes(&l, parseSocket)}, part{"name", takes(&name, parseSocketName)})
	if err == nil && l.Network == "" {
		err = fmt.Errorf(`it has no address, like {"address": ":3000", "name": "http"}`)
	}
	l.Name = name
	return l, err
}

// parseSocketName takes what systemd takes as a descriptor's name.
func parseSocketName(v *node) (string, error) {
	s, err := parseText(v)
	bad := func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }
	if err == nil && (s == "" || len(s) > 255 || strings.IndexFunc(s, bad) >= 0) {
		err = fmt.Errorf("want up to 255 printable characters without a colon or a blank, got %s", v.describe())
	}
	return s, err
}

// parseSocket takes "tcp://0.0.0.0:3000", "127.0.0.1:3000", ":3000", 3000,
// "unix:app.sock" and "/run/app.sock". The path of a unix socket is still as written.
func parseSocket(v *node) (Listen, error) {
	if v.kind != kindText && v.kind != kindNumber {
		return Listen{}, fmt.Errorf(`want a socket like "tcp://0.0.0.0:3000", ":3000" or "unix:app.sock", got %s`, v.describe())
	}
	s := v.text
	if path, ok := strings.CutPrefix(s, "unix:"); ok || strings.HasPrefix(s, "/") {
		path = strings.TrimPrefix(path, "//")
		if !ok {
			path = s
		}
		if path == "" || path == "@" || strings.ContainsRune(path, 0) {
			return Listen{}, fmt.Errorf(`want a path like "unix:app.sock", got %s`, v.describe())
		}
		return Listen{Network: "unix", Address: path}, nil
	}
	network, rest, ok := strings.Cut(s, "://")
	if !ok {
		network, rest = "tcp", s
	}
	if network != "tcp" && network != "tcp4" && network != "tcp6" {
		return Listen{}, fmt.Errorf("want tcp:// or unix:, got %s", v.describe())
	}
	if !strings.Contains(rest, ":") {
		rest = ":" + rest
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil {
		return Listen{}, fmt.Errorf(`want an address and a port like "0.0.0.0:3000" or "[::]:3000", got %s`, v.describe())
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Listen{}, fmt.Errorf(`want a socket like "tcp://0.0.0.0:3000", ":3000" or "unix:app.sock" with a port from 1 to %d, got %s`, maxPort, v.describe())
	}
	return tcpSocket(network, host, int(n))
}

// tcpSocket settles the network of a socket by its address.
func tcpSocket(network, host string, port int) (Listen, error) {
	if host == "" {
		return Listen{Network: network, Address: ":" + strconv.Itoa(port)}, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return Listen{}, fmt.Errorf(`want a number as the address (like 0.0.0.0, 127.0.0.1 or [::1]), got %s`, quote(host))
	}
	ip = ip.Unmap()
	is := "tcp6"
	if ip.Is4() {
		is = "tcp4"
	}
	if network != "tcp" && network != is {
		return Listen{}, fmt.Errorf("%s is not an address of %s", host, network)
	}
	return Listen{Network: is, Address: netip.AddrPortFrom(ip, uint16(port)).String()}, nil
}

// parseReload takes an object over what a reload does by default.
func parseReload(v *node, to Reload) (Reload, error) {
	err := takeParts(v, `{"surge": 1, "canary": "30s"}`,
		part{"surge", takes(&to.Surge, parseCount)},
		part{"unavailable", takes(&to.Unavailable, parseCount)},
		part{"canary", takes(&to.Canary, parseCanary)})
	if err == nil && to.Surge == 0 && to.Unavailable == 0 {
		err = fmt.Errorf("surge and unavailable can't both be 0, nothing could be replaced: give unavailable: 1, too")
	}
	return to, err
}

// usualCanary is the time that `canary: true` stands for.
const usualCanary = 10 * time.Second

func parseCanary(v *node) (time.Duration, error) {
	switch on, err := parseBool(v); {
	case err == nil && on:
		return usualCanary, nil
	case err == nil:
		return 0, nil
	}
	t, err := parseDuration(v)
	if err != nil {
		err = fmt.Errorf(`want true, false or a time like "30s", got %s`, v.describe())
	}
	return t, err
}

// parseDrain takes an object, a mode alone, or false. Without a mode it has none:
// drainMode decides.
func parseDrain(v *node, to Drain) (Drain, error) {
	to.Mode = ""
	if on, err := parseBool(v); err == nil {
		if !on {
			to.Mode = DrainOff
		}
		return to, nil
	}
	if v.kind == kindText {
		mode, err := parseDrainMode(v)
		to.Mode = mode
		return to, err
	}
	return to, takeParts(v, `{"mode": "outside", "timeout": "10s", "idle": "2s"}`,
		part{"mode", takes(&to.Mode, parseDrainMode)},
		part{"timeout", takes(&to.Timeout, parseDuration)},
		part{"idle", takes(&to.Idle, parseDuration)})
}

func parseDrainMode(v *node) (string, error) {
	if on, err := parseBool(v); err == nil && !on { // YAML's off
		return DrainOff, nil
	}
	return parseWord(v, DrainOutside, DrainSignal, DrainOff)
}

const hookLike = `{"http": {"url": "http://127.0.0.1:1880/flows/state"}} or {"exec": "./promote"}`

func parseStandby(v *node) (s Standby, err error) {
	err = takeParts(v, `{"promote": {"http": {"url": "http://127.0.0.1:{port}/on"}}}`,
		part{"promote", takes(&s.Promote, parseHook)}, part{"demote", takes(&s.Demote, parseHook)})
	return s, err
}

// usualHookTimeout bounds a hook that names no timeout.
const usualHookTimeout = 5 * time.Second

func parseHook(v *node) (Hook, error) {
	h := Hook{Timeout: usualHookTimeout}
	request := false
	err := takeParts(v, hookLike,
		part{"http", func(v *node) error { request = true; return h.parseRequest(v, "POST") }},
		part{"exec", takes(&h.Exec, parseFilled)},
		part{"timeout", takes(&h.Timeout, parseDuration)})
	switch {
	case err != nil:
	case h.Exec == "" && !request:
		err = fmt.Errorf("want something to do: %s", hookLike)
	case h.Exec != "" && request:
		err = fmt.Errorf("want http or exec, not both")
	case h.Timeout == 0:
		err = fmt.Errorf("its timeout can't be 0")
	}
	return h, err
}

func parseFilled(v *node) (string, error) {
	s, err := parseText(v)
	if err == nil && s == "" {
		err = fmt.Errorf("is empty")
	}
	return s, err
}

// parseRequest takes the object of an HTTP request with that method, if it names none;
// a body that is no text is sent as JSON.
func (h *Hook) parseRequest(v *node, method string) error {
	h.Method = method
	isJSON := false
	body := func(v *node) (err error) {
		if isJSON = !v.isScalar(); isJSON {
			h.Body = v.json()
			return nil
		}
		h.Body, err = parseText(v)
		return err
	}
	err := takeParts(v, `{"url": "http://127.0.0.1:{port}/on", "method": "POST"}`,
		part{"url", takes(&h.URL, parseURL)}, part{"method", takes(&h.Method, parseMethod)},
		part{"body", body}, part{"headers", takes(&h.Headers, parseHeaders)})
	if err == nil && h.URL == "" {
		err = fmt.Errorf("it has no url")
	}
	const contentType = "Content-Type"
	if _, given := h.Headers[contentType]; isJSON && !given {
		if h.Headers == nil {
			h.Headers = map[string]string{}
		}
		h.Headers[contentType] = "application/json"
	}
	return err
}

// PortMark stands for the instance's port in the URL of a Hook.
const PortMark = "{port}"

func parseURL(v *node) (string, error) {
	s, err := parseText(v)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(strings.ReplaceAll(s, PortMark, "1"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf(`want an address like "http://127.0.0.1:%s/path", got %s`, PortMark, v.describe())
	}
	return s, nil
}

func parseMethod(v *node) (string, error) {
	s, err := parseText(v)
	if err != nil || s == "" || strings.IndexFunc(s, func(r rune) bool { return !isLetter(r) }) >= 0 {
		return "", fmt.Errorf(`want a method like "POST", got %s`, v.describe())
	}
	return strings.ToUpper(s), nil
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// parseHeaders takes an object of headers. What could end one early is refused.
func parseHeaders(v *node) (map[string]string, error) {
	if v.kind != kindObject {
		return nil, fmt.Errorf("want an object of headers, got %s", v.describe())
	}
	all := map[string]string{}
	var wrong partErrors
	for _, m := range v.members {
		value, err := parseText(m.value)
		inName := func(r rune) bool { return !isLetter(r) && (r < '0' || r > '9') && r != '-' && r != '_' }
		switch {
		case err != nil:
		case m.name == "" || strings.IndexFunc(m.name, inName) >= 0:
			err = fmt.Errorf("can't be the name of a header")
		case strings.IndexFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0:
			err = fmt.Errorf("a header can't have control characters")
		}
		wrong.add("."+join("", m.name), m.value.place, err)
		all[textproto.CanonicalMIMEHeaderKey(m.name)] = value
	}
	return all, wrong.result()
}
