package cluster

// The test binary is also other programs: which, is in the environment variable
// CLUSTER_ROLE, a key of this table.
const roleKey = "CLUSTER_ROLE"

func roles() map[string]func() int {
	return map[string]func() int{
		"stranger": strangerRole,
		"confined": confinedRole,
		"server":   serverRole,
		"forker":   forkerRole,
		"worker":   workerRole,
	}
}
