package ecosystem

import (
	"encoding/json"
	"fmt"
	"strings"
)

// diffConsul compares what two versions of an app say about Consul, part by part.
// Tokens, and what may hold a password, are not shown.
func diffConsul(old, new Consul) []Change {
	var changes []Change
	add := func(part string, before, after any, isSecret bool) {
		b, a := showPart(before), showPart(after)
		if b == a {
			return
		}
		if isSecret {
			b, a = hidden(b, a)
		}
		changes = append(changes, Change{strings.TrimSuffix("consul."+part, "."), b, a})
	}
	add("", old.On, new.On, false)
	add("agent", old.Agent.plain(), new.Agent.plain(), false)
	add("agent.token", old.Agent.Token, new.Agent.Token, true)
	s, t := old.Service, new.Service
	add("service", s.shown(old.On), t.shown(new.On), false)
	add("tags", s.Tags, t.Tags, false)
	add("meta", s.Meta, t.Meta, false)
	add("address", s.Address, t.Address, false)
	add("port", s.Port, t.Port, false)
	add("checks", s.Checks, t.Checks, true)
	if old.On && new.On { // they are never nothing
		add("weights", s.weights(), t.weights(), false)
		add("deregister_after", s.DeregisterAfter.String(), t.DeregisterAfter.String(), false)
		add("on_change", old.Config.OnChange, new.Config.OnChange, false)
		add("debounce", old.Config.Debounce.String(), new.Config.Debounce.String(), false)
	}
	add("deregister_delay", s.DeregisterDelay.String(), t.DeregisterDelay.String(), false)
	add("env", old.Config.Env, new.Config.Env, false)
	add("files", old.Config.Files, new.Config.Files, false)
	add("allow", old.Config.Allow, new.Config.Allow, false)
	add("fleet", old.Fleet, new.Fleet, false)
	return changes
}

// consulEffort is what a change of a part takes: an instance has its variables and files
// from its start.
func consulEffort(part string) Effort {
	if part == "env" || part == "files" {
		return EffortRestart
	}
	return EffortApply
}

// showPart is a value for a person and for comparing; "" is none.
func showPart(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []string:
		return joinWords(v)
	}
	b, _ := json.Marshal(v) // texts and numbers always marshal
	switch text := string(b); text {
	case "null", "{}", "[]", "false", "0":
		return ""
	default:
		return text
	}
}

// plain is the agent without its token.
func (a ConsulAgent) plain() any {
	a.Token = ""
	if b := showPart(a); b != "" && a == (ConsulAgent{Address: a.Address}) {
		return a.Address
	}
	return a
}

func (s ConsulService) shown(on bool) string {
	switch {
	case !on:
		return ""
	case s.Off:
		return "false"
	}
	return s.Name
}

func (s ConsulService) weights() string {
	return fmt.Sprintf("passing %d, warning %d", s.WeightPassing, s.WeightWarning)
}

// show is a singleton for a person and for comparing.
func (s *Singleton) show() string {
	if !s.IsSet() {
		return ""
	}
	text := fmt.Sprintf("%s, mode %s, on_lost %s, ttl %v", s.Lock, s.Mode, s.OnLost, s.TTL)
	if s.Signal != "" {
		text += ", signal " + s.Signal
	}
	return text
}
