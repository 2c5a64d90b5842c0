package ecosystem

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

// This file takes the checks that Consul makes of an app's instances.

const checkLike = `{"http": "http://127.0.0.1:{port}/health", "interval": "10s"}`

// What a check of Consul is that says nothing of it; Consul makes none more often.
const (
	usualCheckInterval = 10 * time.Second
	usualCheckTimeout  = 3 * time.Second
	minCheckInterval   = time.Second
)

// parseChecks takes a list of checks, or one.
func parseChecks(v *node) ([]ConsulCheck, error) { return parseEach(v, parseConsulCheck) }

// parseConsulCheck takes an object, or what is checked alone: a URL, a port, or an
// address to connect to.
func parseConsulCheck(v *node) (ConsulCheck, error) {
	c := ConsulCheck{Interval: usualCheckInterval, Timeout: usualCheckTimeout}
	switch {
	case v.kind == kindText && strings.Contains(v.text, "://"):
		err := takes(&c.HTTP, parseURL)(v)
		return c, err
	case v.kind == kindText || v.kind == kindNumber:
		err := takes(&c.TCP, parseTarget)(v)
		return c, err
	case v.kind != kindObject:
		return c, fmt.Errorf("want a URL, a port or an object like %s, got %s", checkLike, v.describe())
	}
	var given []string
	is := func(name string, take func(*node) error) part {
		return part{name, func(v *node) error { given = append(given, name); return take(v) }}
	}
	parts := slices.Concat([]part{
		is("http", takes(&c.HTTP, parseURL)),
		is("tcp", takes(&c.TCP, parseTarget)),
		is("grpc", takes(&c.GRPC, parseGRPC)),
		is("method", takes(&c.Method, parseMethod)),
		is("body", takes(&c.Body, parseText)),
		is("tls_skip_verify", takes(&c.Insecure, parseBool)),
		is("grpc_use_tls", takes(&c.TLS, parseBool)),
		{"name", takes(&c.Name, parseFilled)},
		{"interval", takes(&c.Interval, parseLasting(minCheckInterval))},
		{"timeout", takes(&c.Timeout, parseLasting(time.Millisecond))}},
		named(func(v *node) error { given = append(given, "headers"); return takes(&c.Headers, parseHeaderLists)(v) }, "headers", "header"))
	err := takeParts(v, checkLike, parts...)
	if err == nil {
		err = checkParts(given)
	}
	return c, err
}

// checkParts says which parts of a check don't go together.
func checkParts(given []string) error {
	isGiven := func(name string) bool { return slices.Contains(given, name) }
	var kinds []string
	for _, kind := range []string{"http", "tcp", "grpc"} {
		if isGiven(kind) {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) != 1 {
		return fmt.Errorf("want one of http, tcp and grpc, like %s", checkLike)
	}
	for _, needs := range []struct{ name, kinds string }{
		{"method", "http"}, {"headers", "http"}, {"body", "http"}, {"tls_skip_verify", "http grpc"}, {"grpc_use_tls", "grpc"},
	} {
		if isGiven(needs.name) && !strings.Contains(needs.kinds, kinds[0]) {
			return fmt.Errorf("%s has no effect with %s: leave it out", needs.name, kinds[0])
		}
	}
	return nil
}

// parseGRPC takes "127.0.0.1:{port}", or that with a service's name behind a slash.
func parseGRPC(v *node) (string, error) {
	bad := fmt.Errorf(`want an address like "127.0.0.1:%s" or "127.0.0.1:%s/my.service", got %s`, PortMark, PortMark, v.describe())
	if v.kind != kindText {
		return "", bad
	}
	address, _, _ := strings.Cut(v.text, "/")
	host, port, err := net.SplitHostPort(strings.ReplaceAll(address, PortMark, "1"))
	if err != nil || host == "" || strings.ContainsAny(v.text, " \x00") {
		return "", bad
	}
	if _, err := parsePortNumber(textNode(port)); err != nil {
		return "", bad
	}
	return v.text, nil
}

// parseHeaderLists takes an object of headers, each with a value or a list of them.
func parseHeaderLists(v *node) (map[string][]string, error) {
	if v.kind != kindObject {
		_, err := parseHeaders(v)
		return nil, err
	}
	all := map[string][]string{}
	var wrong partErrors
	for _, m := range v.members {
		values := []*node{m.value}
		if m.value.kind == kindList {
			values = m.value.items
		}
		for _, value := range values {
			one, err := parseHeaders(&node{kind: kindObject, place: v.place, members: []member{{m.name, value, m.place}}})
			wrong.add("", m.value.place, err)
			for name := range maps.Keys(one) {
				all[name] = append(all[name], one[name])
			}
		}
	}
	return all, wrong.result()
}
