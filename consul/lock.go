package consul

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/sys/unix"
)

// This file asks an agent for sessions and locks; lease.go decides what is asked for, and
// locker.go does it.

// sitting is a key as somebody has seen it.
type sitting struct {
	session string // who has locked it; "" = nobody
	holder  string // what that has written there
	modify  uint64 // 0: there is no such key
	index   uint64 // of the answer
}

// Boottime is how long the machine has been up, with the time that it has slept.
func Boottime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // always there
	return time.Duration(ts.Nano())
}

// lockDelay is as good as none: whoever had a lock of ours is dead before it is free, and
// a program on a machine that is gone is killed before its session ends.
const lockDelay = time.Millisecond

// openSession makes a session that nothing but its time ends: no check of the machine's,
// for these may fail while what runs under the lock goes on.
func (c *Client) openSession(ctx context.Context, name string, ttl time.Duration) (id string, err error) {
	err = c.within(ctx, ttl/3, func(ctx context.Context) (e error) {
		entry := &api.SessionEntry{Name: name, TTL: fmt.Sprintf("%dms", ttl.Milliseconds()), Behavior: api.SessionBehaviorRelease, LockDelay: lockDelay}
		id, e = c.newSession(ctx, entry)
		return e
	})
	return id, err
}

// newSession takes no session without a name: a key that nobody has would seem to be its.
func (c *Client) newSession(ctx context.Context, entry *api.SessionEntry) (id string, err error) {
	id, _, err = c.api.Session().CreateNoChecks(entry, (&api.WriteOptions{}).WithContext(ctx))
	if err == nil && id == "" {
		return "", errHollow
	}
	return id, err
}

// renewSession says whether a session is there still; if so it has its whole time again.
func (c *Client) renewSession(ctx context.Context, id string, ttl time.Duration) (isThere bool, err error) {
	err = c.within(ctx, ttl/3, func(ctx context.Context) error {
		entry, _, e := c.api.Session().Renew(id, (&api.WriteOptions{}).WithContext(ctx))
		isThere = entry != nil
		return e
	})
	return isThere, err
}

func (c *Client) endSession(ctx context.Context, id string) error {
	return c.do(ctx, 0, func(ctx context.Context) error {
		_, e := c.api.Session().Destroy(id, (&api.WriteOptions{}).WithContext(ctx))
		return e
	})
}

// isNothing says that there is no such key. Who gives a lock back leaves the key.
func (s sitting) isNothing() bool { return s.session == "" && s.modify == 0 }

// see reads a key when it is another than at index, or after wait.
func (c *Client) see(ctx context.Context, key string, index uint64, wait time.Duration) (s sitting, err error) {
	if index == 0 {
		wait = 0 // it is answered at once
	}
	err = c.do(ctx, wait, func(ctx context.Context) error {
		q := (&api.QueryOptions{WaitIndex: index, WaitTime: wait}).WithContext(ctx)
		pair, meta, e := c.api.KV().Get(key, q)
		if e != nil {
			return e
		}
		s.index = meta.LastIndex
		if pair != nil {
			s.session, s.holder, s.modify = pair.Session, string(pair.Value), pair.ModifyIndex
		}
		return nil
	})
	return s, err
}

func (c *Client) lockKey(ctx context.Context, key, session, holder string) (isOurs bool, err error) {
	err = c.do(ctx, 0, func(ctx context.Context) (e error) {
		isOurs, _, e = c.api.KV().Acquire(&api.KVPair{Key: key, Session: session, Value: []byte(holder)}, (&api.WriteOptions{}).WithContext(ctx))
		return e
	})
	return isOurs, err
}

// unlockKey is no error if it wasn't locked by the session.
func (c *Client) unlockKey(ctx context.Context, key, session, holder string) error {
	return c.do(ctx, 0, func(ctx context.Context) error {
		_, _, e := c.api.KV().Release(&api.KVPair{Key: key, Session: session, Value: []byte(holder)}, (&api.WriteOptions{}).WithContext(ctx))
		return e
	})
}

// within is do with less patience: what it asks for is of no use later.
func (c *Client) within(ctx context.Context, limit time.Duration, ask func(context.Context) error) error {
	return c.do(ctx, 0, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return ask(ctx)
	})
}
