import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Comparison, compareWithBase } from './breaking.ts';

const buf = fileURLToPath(new URL('../node_modules/.bin/buf', import.meta.url));

/** A clone of its own for one test; `compare` looks at its work tree. */
interface Clone {
  git(...args: readonly string[]): void;
  writeMessage(field: string): void;
  commit(): void;
  compare(): Comparison;
}

function inClone(use: (clone: Clone) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'proto-breaking-test-'));
  const git = (...args: readonly string[]) =>
    void execFileSync('git', ['-c', 'user.name=test', '-c', 'user.email=test@localhost', ...args], { cwd: folder });
  try {
    git('init', '--quiet', '--initial-branch', 'main');
    use({
      git,
      writeMessage(field) {
        mkdirSync(join(folder, 'proto'), { recursive: true });
        writeFileSync(join(folder, 'proto/buf.yaml'), 'version: v2\nbreaking:\n  use:\n    - FILE\n');
        writeFileSync(join(folder, 'proto/a.proto'), `syntax = "proto3";\npackage a;\nmessage A {\n  ${field}\n}\n`);
      },
      commit() {
        git('add', '--all');
        git('commit', '--quiet', '--allow-empty', '--message', 'change');
      },
      compare: () => compareWithBase(folder, buf),
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('a branch is compared with where it left main', () => {
  inClone((clone) => {
    clone.writeMessage('string name = 1;');
    clone.commit();
    clone.git('checkout', '--quiet', '-b', 'change');
    clone.writeMessage('string name = 1; string etag = 2;');
    clone.commit();
    assert.match(clone.compare().line, /^compatible with the merge base with main/);

    clone.writeMessage('int64 name = 1;');
    clone.commit();
    const comparison = clone.compare();
    assert.equal(comparison.compatible, false);
    assert.match(comparison.details, /Field "1".*changed type from "string" to "int64"/);
  });
});

test('main is compared with the last tag before it, never with itself', () => {
  inClone((clone) => {
    clone.writeMessage('string name = 1;');
    clone.commit();
    clone.git('tag', 'v1');
    clone.writeMessage('int64 name = 1;');
    clone.commit();
    clone.git('tag', 'v2');
    const comparison = clone.compare();
    assert.equal(comparison.line, 'not compatible with tag v1');
  });
});

test('without a commit to compare with it fails and says why', () => {
  inClone((clone) => {
    assert.match(clone.compare().line, /has no commit$/);
    clone.writeMessage('string name = 1;');
    clone.commit();
    clone.commit();
    const comparison = clone.compare();
    assert.equal(comparison.compatible, false);
    assert.match(comparison.line, /this commit is on main and no tag precedes it$/);
  });
});

test('a base without .proto files is nothing to compare, which is no failure', () => {
  inClone((clone) => {
    clone.commit();
    clone.git('checkout', '--quiet', '-b', 'change');
    clone.writeMessage('string name = 1;');
    clone.commit();
    const comparison = clone.compare();
    assert.equal(comparison.compatible, true);
    assert.match(comparison.line, /has no \.proto files$/);
  });
});
