package cmd

import (
	"fmt"
	"slices"
	"time"

	"gopm/daemon/api"
	"gopm/ecosystem"
)

// registrationText is what Consul knows of an instance.
func registrationText(r *api.Registration, now time.Time) string {
	if r == nil {
		return ""
	}
	text := fmt.Sprintf("not registered as %s", r.Service)
	if r.Absence != "" {
		text += ": " + r.Absence
	}
	if r.Status != "" {
		text = fmt.Sprintf("registered as %s (%s), %s", r.Service, r.ID, r.Status)
		if r.Leaving {
			text += ", in maintenance"
		}
		if r.Port != 0 {
			text += fmt.Sprintf(", port %d", r.Port)
		} else {
			text += ", without a port: it listens on none"
		}
	}
	if r.Trouble != "" {
		text += ": " + r.Trouble
	}
	if !r.Down.IsZero() {
		text = downText(r, now) + "; before: " + text
	}
	return text
}

// downText is for an agent that is not to be reached.
func downText(r *api.Registration, now time.Time) string {
	text := fmt.Sprintf("down %s (%s): %s", duration(max(0, now.Sub(r.Down)).Truncate(time.Second)), r.Agent, r.Error)
	if next := r.NextTry.Sub(now); next > 0 {
		text += ", next try in " + duration(max(next.Round(time.Second), time.Second))
	}
	return text
}

// printAgents says which agents of Consul are not to be reached, what they refuse, and
// what is wrong with locks.
func (c *cli) printAgents(rows []api.Instance, now time.Time) {
	var told []string
	say := func(line string) {
		if !slices.Contains(told, line) {
			told = append(told, line)
			c.say("%s", c.paint(yellow, c.clipped(line)))
		}
	}
	for _, row := range rows {
		if l := row.Process.Lock; l != nil && l.Why != "" {
			say(fmt.Sprintf("%d|%s lock %s: %s", row.ID, row.Name, l.Key, l.Why))
		}
		switch r := row.Consul; {
		case r == nil:
		case !r.Down.IsZero():
			say("consul: " + downText(r, now))
		case r.Trouble != "":
			say(fmt.Sprintf("%d|%s consul: %s", row.ID, row.Name, r.Trouble))
		}
	}
}

// maskConsul is a copy with the secrets hidden: the token, and what the checks send.
func maskConsul(c ecosystem.Consul) ecosystem.Consul {
	if c.Agent.Token != "" {
		c.Agent.Token = ecosystem.Masked
	}
	c.Agent.Address = ecosystem.MaskURL(c.Agent.Address)
	c.Service.Checks = slices.Clone(c.Service.Checks)
	for i := range c.Service.Checks {
		check := &c.Service.Checks[i]
		check.HTTP = ecosystem.MaskURL(check.HTTP)
		if check.Body != "" {
			check.Body = ecosystem.Masked
		}
		headers := map[string][]string{}
		for name := range check.Headers {
			headers[name] = []string{ecosystem.Masked}
		}
		if len(headers) > 0 {
			check.Headers = headers
		}
	}
	return c
}
