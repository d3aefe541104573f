package main

import (
	"testing"
	"testing/fstest"
)

func TestMemoryIsThatOfTheNarrowestControlGroup(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	machine := memory(fstest.MapFS{})
	if machine <= 0 {
		t.Fatalf("got %d bytes, want those of this machine", machine)
	}
	root := fstest.MapFS{
		"proc/self/cgroup":         file("1:name=systemd:/x\n0::/system.slice/culvertd.service\n"),
		"sys/fs/cgroup/memory.max": file("max\n"), // which the root hasn't, but that of a container has
		"sys/fs/cgroup/system.slice/culvertd.service/memory.max": file("max\n"),
	}
	if got := memory(root); got != machine {
		t.Errorf("no limit: got %d, want %d", got, machine)
	}
	root["sys/fs/cgroup/system.slice/memory.max"] = file("2000000\n")
	if got := memory(root); got != 2000000 {
		t.Errorf("the limit of the slice: got %d, want 2000000", got)
	}
	root["sys/fs/cgroup/system.slice/culvertd.service/memory.max"] = file("1000000\n")
	if got := memory(root); got != 1000000 {
		t.Errorf("the limit of the service: got %d, want 1000000", got)
	}
}
