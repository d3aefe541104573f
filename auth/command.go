package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Command is AuthorizedKeysCommand or AuthorizedPrincipalsCommand, for one question.
type Command struct {
	Line   string          // a path and its arguments, as sshd_config has them
	User   string          // of the operating system, as whom it runs
	Tokens map[byte]string // 'u' is what %u stands for

	// Argument is given to a command that has none of its own: AuthorizedKeysCommand gets the user name. If empty, none is.
	Argument string
}

const (
	// commandTime is how long a command may run, and how long one may wait for its turn.
	commandTime = 10 * time.Second

	// maxCommands is how many run at once. What a client writes may decide what is asked, so it
	// must not decide how many processes there are.
	maxCommands = 8

	// maxCommandOutput bounds what is read of a command's output, in bytes, like a keys file.
	maxCommandOutput = maxFileSize

	// answerTime is how long an answer is kept. A handshake asks two or three times about the same key; whoever
	// was taken out is out after this time.
	answerTime = 5 * time.Second

	// maxAnswers and maxAnswerBytes bound what is kept.
	maxAnswers     = 1024
	maxAnswerBytes = 8 << 20
)

// Commands runs commands and keeps their answers for a moment. It may be used from any goroutine, and starts none that
// outlives its caller.
type Commands struct {
	now      func() time.Time
	complain func(command, text string)
	running  chan struct{}
	limit    time.Duration // commandTime, but for tests

	mu      sync.Mutex
	answers map[string]*answer
	bytes   int // in answers
}

// answer is that of one command line. Its fields are written before done is closed.
type answer struct {
	done      chan struct{}
	out       []byte
	err       error
	abandoned bool // who ran it has left: ask again
	until     time.Time
}

// NewCommands returns Commands without answers. What a command writes to its standard error, cut to a few KiB
// and not escaped, goes to complain.
func NewCommands(now func() time.Time, complain func(command, text string)) *Commands {
	return &Commands{
		now: now, complain: complain, running: make(chan struct{}, maxCommands), limit: commandTime,
		answers: make(map[string]*answer),
	}
}

// Forget drops all answers, and those that are still to come to questions that were asked before.
func (c *Commands) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers, c.bytes = make(map[string]*answer), 0
}

// Output returns what the command writes to its standard output, which the caller must not write to. Whatever goes wrong
// with it, an exit status that is not 0 included, is an error, and the output is then none. It waits
// until ctx is done.
func (c *Commands) Output(ctx context.Context, cmd Command) ([]byte, error) {
	argv, err := cmd.argv()
	if err != nil {
		return nil, err
	}
	key := cmd.User + "\x00" + strings.Join(argv, "\x00")
	for {
		a, mine := c.ask(key)
		if mine {
			c.run(ctx, key, a, cmd.User, argv)
			return a.out, a.err
		}
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !a.abandoned {
			return a.out, a.err
		}
	}
}

// argv splits the line, and then expands each word by itself: no token can become two arguments.
func (cmd Command) argv() ([]string, error) {
	argv, err := splitWords(cmd.Line)
	if err != nil {
		return nil, fmt.Errorf("command %q: %w", cmd.Line, err)
	}
	if len(argv) == 0 {
		return nil, errors.New("the command is empty")
	}
	for i, word := range argv[1:] {
		if argv[i+1], err = expand(word, cmd.Tokens); err != nil {
			return nil, fmt.Errorf("command %q: %w", argv[0], err)
		}
		if strings.IndexByte(argv[i+1], 0) >= 0 {
			return nil, fmt.Errorf("command %q: a token in %q has a NUL in it", argv[0], word)
		}
	}
	if len(argv) == 1 && cmd.Argument != "" {
		argv = append(argv, cmd.Argument)
	}
	return argv, nil
}

// ask returns the answer to a question: one that is there or on its way, or a new one, which is then the caller's to give.
func (c *Commands) ask(key string) (a *answer, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.answers[key]; a != nil {
		select {
		case <-a.done:
			if c.now().Before(a.until) {
				return a, false
			}
			c.drop(key, a)
		default:
			return a, false
		}
	}
	a = &answer{done: make(chan struct{})}
	c.answers[key] = a
	return a, true
}

// run gives an answer.
func (c *Commands) run(ctx context.Context, key string, a *answer, user string, argv []string) {
	a.err = errors.New("the command was not run")
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		defer close(a.done)
		a.until = c.now().Add(answerTime)
		a.abandoned = ctx.Err() != nil
		c.keep(key, a)
	}()
	late := time.NewTimer(c.limit)
	defer late.Stop()
	select {
	case c.running <- struct{}{}:
		defer func() { <-c.running }()
	case <-ctx.Done():
		a.err = ctx.Err()
		return
	case <-late.C:
		a.err = fmt.Errorf("command %q: %d others were running all the time", argv[0], maxCommands)
		return
	}
	limited, cancel := context.WithTimeoutCause(ctx, c.limit, fmt.Errorf("it didn't end within %v", c.limit))
	defer cancel()
	out, complaint, err := runCommand(limited, user, argv)
	if complaint != "" {
		c.complain(argv[0], complaint)
	}
	if err != nil {
		a.err = fmt.Errorf("command %q: %w", argv[0], err)
		return
	}
	a.out, a.err = out, nil
}

// keep holds on to an answer if there is room. The lock is held.
func (c *Commands) keep(key string, a *answer) {
	if c.answers[key] != a {
		return // forgotten meanwhile
	}
	c.bytes += len(key) + len(a.out)
	if len(c.answers) > maxAnswers || c.bytes > maxAnswerBytes {
		c.dropOld()
	}
	if a.abandoned || len(c.answers) > maxAnswers || c.bytes > maxAnswerBytes {
		c.drop(key, a)
	}
}

// dropOld drops what nobody is told any more. The lock is held.
func (c *Commands) dropOld() {
	for key, a := range c.answers {
		if !a.until.IsZero() && !c.now().Before(a.until) {
			c.drop(key, a)
		}
	}
}

// drop drops an answer that was kept. The lock is held.
func (c *Commands) drop(key string, a *answer) {
	delete(c.answers, key)
	c.bytes -= len(key) + len(a.out)
}
