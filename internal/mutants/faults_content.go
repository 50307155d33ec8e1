package main

// contentFaults are about the contents of removed messages: section 6.2.
var contentFaults = []fault{
	{
		name: "eager-body-deletion",
		what: "a content is deleted before all members have applied the removal: a MOVE arrives without body (C10)",
		edits: []edit{
			{"crdt/content.go", "if !stable.Has(r.By) {", "if r.By.N == 0 {"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestCollect|TestContentsRandom",
	},
	{
		name: "first-removal-only",
		what: "a content is judged by its first removal while a later one is not stable (C20)",
		edits: []edit{
			{"crdt/content.go", "\tif !recorded {\n", "\tif !recorded && c.Removed == 0 {\n"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestCollect|TestContentsRandom",
	},
	{
		name: "deleted-under-copies",
		what: "a content is deleted although other messages have it",
		edits: []edit{
			{"crdt/content.go", "return c == Content{} }", "return c.Removed == 0 }"},
		},
		pkg: crdtPkg, tests: "TestScripts|TestCollect|TestContentsRandom",
	},
	{
		name: "never-deleted",
		what: "removed contents stay for ever: no bound on growth",
		edits: []edit{
			{"crdt/content.go", "\tif c.Removed > 0 {\n\t\tc.Removed--\n\t}\n", ""},
		},
		pkg: crdtPkg, tests: "TestScripts|TestCollect|TestContentsRandom",
	},
	{
		name: "stable-too-early",
		what: "what a peer says that it has counts before what it made until then is here (6.2, C10)",
		edits: []edit{
			{"comm/causal/stable.go", "\tif !s.pending.LessEqual(here) {\n\t\treturn\n\t}\n", ""},
		},
		pkg: causalPkg, tests: "TestScripts|TestRandomSchedules|TestStable.*",
	},
	{
		name: "stable-over-eviction",
		what: "what others told before an eviction counts on, although they have more of the evicted member since (6.2, 6.4)",
		edits: []edit{
			{"comm/causal/stable.go", "p.seen = presence{origin: p.seen.origin, former: p.seen.former}\n", ""},
		},
		pkg: causalPkg, tests: "TestEvictedIsAtOthers",
	},
	{
		name: "stable-without-a-member",
		what: "a member that was never heard of does not hold back stability (6.2)",
		edits: []edit{
			{"comm/causal/stable.go", "\t\tv = v.Min(p.seen.sure)\n", "\t\tif p.seen.origin != 0 {\n\t\t\tv = v.Min(p.seen.sure)\n\t\t}\n"},
		},
		pkg: causalPkg, tests: "TestScripts|TestRandomSchedules|TestStable.*",
	},
}
