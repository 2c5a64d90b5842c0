package consul

import (
	"context"

	"github.com/hashicorp/consul/api"
)

// Entry is a service instance as the catalog has it.
type Entry struct {
	ID      string
	Name    string
	Node    string
	Address string // its own, or else its node's
	NodeIP  string
	Port    int
	Meta    map[string]string
	Weight  int    // while it is passing
	Status  string // Passing, Warning, Critical: the worst of its checks, and its node's
	Output  string // of the worst check
}

// What a check can be.
const (
	statusPassing  = api.HealthPassing
	statusWarning  = api.HealthWarning
	statusCritical = api.HealthCritical
)

// IsPassing says that all checks of the entry, and of its node, pass.
func (e Entry) IsPassing() bool { return e.Status == statusPassing }

// IsDown says that one of them has failed.
func (e Entry) IsDown() bool { return e.Status == statusCritical }

// Entries are all instances of a service in the datacenter, those that are down, too.
func (c *Client) Entries(ctx context.Context, service string) (all []Entry, err error) {
	err = c.do(ctx, 0, func(ctx context.Context) error {
		found, _, err := c.api.Health().Service(service, "", false, (&api.QueryOptions{}).WithContext(ctx))
		if err != nil {
			return err
		}
		for _, f := range found {
			if f == nil || f.Node == nil || f.Service == nil {
				return errHollow
			}
		}
		for _, f := range found {
			all = append(all, entryOf(f))
		}
		return nil
	})
	return all, err
}

func entryOf(f *api.ServiceEntry) Entry {
	e := Entry{ID: f.Service.ID, Name: f.Service.Service, Node: f.Node.Node, NodeIP: f.Node.Address, Port: f.Service.Port, Meta: f.Service.Meta, Weight: f.Service.Weights.Passing}
	if e.Address = f.Service.Address; e.Address == "" {
		e.Address = f.Node.Address
	}
	rank := map[string]int{statusPassing: 1, statusWarning: 2, statusCritical: 3}
	e.Status = statusPassing
	for _, check := range f.Checks {
		if check == nil {
			continue
		}
		status := check.Status
		if rank[status] == 0 {
			status = statusCritical // maintenance
		}
		if rank[status] > rank[e.Status] {
			e.Status, e.Output = status, check.Output
		}
	}
	return e
}
