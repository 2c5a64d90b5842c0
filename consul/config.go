package consul

import (
	"context"
	"time"

	"github.com/hashicorp/consul/api"
)

// Keys are a key and, if below is wanted, all whose names begin with it; the index is
// that of the look. With the index of an earlier look it waits for a change, no longer
// than wait. A key that isn't there is no error. The index is 0 if what was known of the
// store means nothing any more.
func (c *Client) Keys(ctx context.Context, key string, below bool, after uint64, wait time.Duration) (all []Record, index uint64, err error) {
	if after == 0 {
		wait = 0 // it is answered at once
	}
	err = c.do(ctx, wait, func(ctx context.Context) error {
		found, meta, err := c.list(key, below, (&api.QueryOptions{WaitIndex: after, WaitTime: wait}).WithContext(ctx))
		if err != nil {
			return err
		}
		if meta.ResultsFilteredByACLs && len(found) == 0 {
			return api.StatusError{Code: statusDenied, Body: "Permission denied: key read on " + key}
		}
		index = meta.LastIndex
		all, err = recordsOf(found)
		return err
	})
	if index < after {
		index = 0
	}
	return all, index, err
}

const statusDenied = 403

func (c *Client) list(key string, below bool, opts *api.QueryOptions) (api.KVPairs, *api.QueryMeta, error) {
	if below {
		return c.api.KV().List(key, opts)
	}
	p, meta, err := c.api.KV().Get(key, opts)
	if err != nil || p == nil {
		return nil, meta, err
	}
	return api.KVPairs{p}, meta, nil
}
