package figures

// promised are the design's figures: medians of an executable model of the
// algorithm, made before the product. Empty: the design says nothing.
type promised struct{ reissues, again, depth, settled string }

type place struct {
	load     float64
	replicas int
}

// designSteady returns what the design promised for steady load with a client
// at every replica.
func designSteady() map[place]promised {
	return map[place]promised{
		{0.01, 2}: {"0.003", "0.001", "1", "0.2 s"},
		{0.01, 3}: {"0.009", "0.001", "1", "0.2 s"},
		{0.1, 2}:  {"0.04", "0.02", "1", "0.2 s"},
		{0.1, 3}:  {"0.10", "0.05", "1", "0.2 s"},
		{0.1, 5}:  {"0.23", "0.10", "1", "0.2 s"},
		{1, 3}:    {"0.66", "0.26", "1", "0.3 s"},
		{1, 5}:    {"0.83", "0.21", "1", "0.3 s"},
		{10, 3}:   {"0.77", "0.28", "2", "0.2 s"},
		{10, 5}:   {"0.87", "0.21", "2", "0.2 s"},
	}
}

// designCut returns what it promised for a cut of a minute, by replicas: with a
// client at every replica, and with readers in one region only.
func designCut() (all, one map[int]promised) {
	all = map[int]promised{
		2: {"0.86", "0.43", "1", "0.2 s"},
		3: {"0.94", "0.31", "1", "0.2 s"},
		5: {"0.96", "0.19", "1", "0.2 s"},
	}
	one = map[int]promised{
		2: {"0.46", "0", "1", "0.2 s"},
		3: {"0.61", "0", "1", "0.2 s"},
		5: {"0.74", "0", "1", "0.2 s"},
	}
	return all, one
}

// designReaders returns what it promised for three replicas of which some have
// readers, by load. (It counts renumbered messages per replica, 0.025 and 0.126
// for two regions; per client that is half as much again.)
func designReaders() map[float64]map[string]promised {
	return map[float64]map[string]promised{
		0.1: {readLeader: {again: "0"}, readOther: {reissues: "0.019", again: "0"}, readTwo: {again: "0.038"}},
		1:   {readLeader: {again: "0"}, readOther: {reissues: "0.146", again: "0"}, readTwo: {again: "0.189"}},
	}
}

// Who reads.
const (
	readAll    = "every region"
	readTwo    = "leader's and one more"
	readLeader = "leader's only"
	readOther  = "one other only"
)

// loads are those of the tables, allLoads those of the plots.
func loads() []float64    { return []float64{0.01, 0.1, 1, 10} }
func allLoads() []float64 { return []float64{0.01, 0.03, 0.1, 0.3, 1, 3, 10} }
func groups() []int       { return []int{2, 3, 5} }
