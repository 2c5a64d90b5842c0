package consul

import (
	"context"
	"time"

	"github.com/hashicorp/consul/api"
)

// Record is a key of the KV store that several machines change: each writes only over
// what it has read. Or it is a mark that one of them holds by its session.
type Record struct {
	Key     string
	Value   []byte
	Session string // who holds it; "" = nobody
	Index   uint64 // of its last change; 0 = it isn't there
}

// Records are the keys under a prefix, in one consistent look, and the index of that.
// With the index of an earlier look it waits for a change.
func (c *Client) Records(ctx context.Context, prefix string, after uint64, wait time.Duration) (all []Record, index uint64, err error) {
	if after == 0 {
		wait = 0 // it is answered at once
	}
	err = c.do(ctx, wait, func(ctx context.Context) error {
		opts := &api.QueryOptions{RequireConsistent: after == 0, WaitIndex: after, WaitTime: wait}
		found, meta, err := c.api.KV().List(prefix, opts.WithContext(ctx))
		if err == nil {
			index = meta.LastIndex
			all, err = recordsOf(found)
		}
		return err
	})
	if index < after {
		index = 0 // the store was restored: what was known of it means nothing
	}
	return all, index, err
}

// Record is one key; Index is 0 if it isn't there.
func (c *Client) Record(ctx context.Context, key string) (r Record, err error) {
	err = c.do(ctx, 0, func(ctx context.Context) error {
		p, _, err := c.api.KV().Get(key, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
		if err == nil && p != nil {
			r = recordOf(p)
		}
		return err
	})
	r.Key = key
	return r, err
}

func recordOf(p *api.KVPair) Record {
	return Record{Key: p.Key, Value: p.Value, Session: p.Session, Index: p.ModifyIndex}
}

func recordsOf(found api.KVPairs) (all []Record, err error) {
	for _, p := range found {
		if p == nil {
			return nil, errHollow
		}
		all = append(all, recordOf(p))
	}
	return all, nil
}

// Replace writes a value over the record that was read; false: it is another one by now.
func (c *Client) Replace(ctx context.Context, r Record, value []byte) (done bool, err error) {
	err = c.do(ctx, 0, func(ctx context.Context) (err error) {
		done, _, err = c.api.KV().CAS(&api.KVPair{Key: r.Key, Value: value, ModifyIndex: r.Index}, (&api.WriteOptions{}).WithContext(ctx))
		return err
	})
	return done, err
}

// Mark is a session, and the key that it holds; the key goes with the session.
type Mark struct {
	Key, Session string
}

// TakeMark makes a session and has it hold a key, with a value for people. Without ok
// another holds the key.
func (c *Client) TakeMark(ctx context.Context, key, name string, ttl time.Duration) (m Mark, ok bool, err error) {
	m.Key = key
	err = c.do(ctx, 0, func(ctx context.Context) (err error) {
		entry := &api.SessionEntry{Name: name, TTL: ttl.String(), Behavior: api.SessionBehaviorDelete, LockDelay: time.Millisecond}
		m.Session, err = c.newSession(ctx, entry)
		return err
	})
	if err != nil {
		return m, false, err
	}
	err = c.do(ctx, 0, func(ctx context.Context) (err error) {
		ok, _, err = c.api.KV().Acquire(&api.KVPair{Key: key, Value: []byte(name), Session: m.Session}, (&api.WriteOptions{}).WithContext(ctx))
		return err
	})
	if !ok {
		_ = c.DropMark(ctx, m) // else it ends by its TTL
	}
	return m, ok, err
}

// KeepMark renews the session; false: it has ended, and the key may be another's.
func (c *Client) KeepMark(ctx context.Context, m Mark) (alive bool, err error) {
	err = c.do(ctx, 0, func(ctx context.Context) error {
		entry, _, err := c.api.Session().Renew(m.Session, (&api.WriteOptions{}).WithContext(ctx))
		alive = entry != nil
		return err
	})
	return alive, err
}

// DropMark ends the session, and the key with it.
func (c *Client) DropMark(ctx context.Context, m Mark) error {
	return c.do(ctx, 0, func(ctx context.Context) error {
		_, err := c.api.Session().Destroy(m.Session, (&api.WriteOptions{}).WithContext(ctx))
		return err
	})
}

// KeepAlive renews a session until ctx ends, or the session has.
func (c *Client) KeepAlive(ctx context.Context, m Mark, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if alive, err := c.KeepMark(ctx, m); err == nil && !alive {
			return
		}
	}
}
