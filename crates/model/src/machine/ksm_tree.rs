//! The unstable tree of ksmd: addresses whose pages did not change for a pass and were like none seen before in this
//! one. It is a red-black tree, ordered by what the pages hold when they are compared, not when they were inserted: a
//! search that meets an address whose page is gone ends there, wherever in the tree its place would be. So the shape
//! counts (`unstable_tree_search_insert()`, mm/ksm.c; lib/rbtree.c has the shape that any red-black tree gets by
//! rebalancing from below).

use std::cmp::Ordering;

use crate::units::MmId;

/// An address of an address space.
pub(crate) type Key = (MmId, u64);

/// No node.
const NONE: usize = usize::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    key: Key,
    parent: usize,
    children: [usize; 2],
    red: bool,
}

/// The tree.
#[derive(Clone, Debug)]
pub(crate) struct UnstableTree {
    nodes: Vec<Node>,
    root: usize,
}

/// How a search ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Search {
    /// This address holds the same.
    Found(Key),
    /// None does; the address is in the tree now.
    Inserted,
    /// The way led over an address that cannot be compared.
    Blocked,
}

impl UnstableTree {
    /// An empty tree.
    pub(crate) const fn new() -> UnstableTree {
        UnstableTree { nodes: Vec::new(), root: NONE }
    }

    /// Looks for an address that holds the same, and inserts `key` if there is none. `compare` says how what is looked
    /// for compares to what another address holds; `None` if nothing can be said.
    pub(crate) fn search_insert(
        &mut self,
        key: Key,
        mut compare: impl FnMut(Key) -> Option<Ordering>,
    ) -> Search {
        let (mut parent, mut side, mut at) = (NONE, 0, self.root);
        while at != NONE {
            parent = at;
            side = match compare(self.nodes[at].key) {
                None => return Search::Blocked,
                Some(Ordering::Equal) => return Search::Found(self.nodes[at].key),
                Some(Ordering::Less) => 0,
                Some(Ordering::Greater) => 1,
            };
            at = self.nodes[at].children[side];
        }
        let new = self.nodes.len();
        self.nodes.push(Node { key, parent, children: [NONE; 2], red: true });
        if parent == NONE {
            self.root = new;
        } else {
            self.nodes[parent].children[side] = new;
        }
        self.balance_insertion(new);
        Search::Inserted
    }

    /// Takes an address out of the tree, if it is there.
    pub(crate) fn remove(&mut self, key: Key) {
        let found = self.nodes.iter().position(|node| node.key == key);
        let Some(node) = found.filter(|node| *node == self.root || self.nodes[*node].parent != NONE) else {
            return;
        };
        let [left, right] = self.nodes[node].children;
        if left != NONE && right != NONE {
            // The next larger one takes its place: what is left to take out has one child at most.
            let mut next = right;
            while self.nodes[next].children[0] != NONE {
                next = self.nodes[next].children[0];
            }
            self.nodes[node].key = self.nodes[next].key;
            return self.unlink(next);
        }
        self.unlink(node);
    }

    /// Takes a node out that has one child at most.
    fn unlink(&mut self, node: usize) {
        let Node { parent, children: [left, right], red, .. } = self.nodes[node];
        let child = if left == NONE { right } else { left };
        self.replace(node, child);
        self.nodes[node] = Node { key: (MmId::NONE, 0), parent: NONE, children: [NONE; 2], red: false };
        if child != NONE {
            self.nodes[child].red = false;
        } else if !red && parent != NONE {
            self.balance_removal(parent);
        }
    }

    fn is_red(&self, node: usize) -> bool {
        node != NONE && self.nodes[node].red
    }

    fn side(&self, node: usize) -> usize {
        usize::from(self.nodes[self.nodes[node].parent].children[1] == node)
    }

    /// Puts `new`, or nothing, in the place of a node.
    fn replace(&mut self, node: usize, new: usize) {
        let parent = self.nodes[node].parent;
        if parent == NONE {
            self.root = new;
        } else {
            let side = self.side(node);
            self.nodes[parent].children[side] = new;
        }
        if new != NONE {
            self.nodes[new].parent = parent;
        }
    }

    /// Turns a node down to this side; its child of the other side takes its place.
    fn rotate(&mut self, node: usize, side: usize) {
        let up = self.nodes[node].children[1 - side];
        let between = self.nodes[up].children[side];
        self.replace(node, up);
        self.nodes[up].children[side] = node;
        self.nodes[node].parent = up;
        self.nodes[node].children[1 - side] = between;
        if between != NONE {
            self.nodes[between].parent = node;
        }
    }

    fn balance_insertion(&mut self, mut node: usize) {
        loop {
            let parent = self.nodes[node].parent;
            if parent == NONE {
                self.nodes[node].red = false;
                return;
            }
            if !self.nodes[parent].red {
                return;
            }
            // The root is black: a red parent has a parent.
            let (grand, side) = (self.nodes[parent].parent, self.side(parent));
            let uncle = self.nodes[grand].children[1 - side];
            if self.is_red(uncle) {
                self.nodes[parent].red = false;
                self.nodes[uncle].red = false;
                self.nodes[grand].red = true;
                node = grand;
                continue;
            }
            let top = if self.side(node) == side {
                parent
            } else {
                self.rotate(parent, side);
                node
            };
            self.nodes[top].red = false;
            self.nodes[grand].red = true;
            return self.rotate(grand, 1 - side);
        }
    }

    /// A black node is missing below `parent`.
    fn balance_removal(&mut self, mut parent: usize) {
        let mut node = NONE;
        loop {
            let side = usize::from(self.nodes[parent].children[0] != node);
            let mut sibling = self.nodes[parent].children[1 - side];
            if self.nodes[sibling].red {
                self.nodes[sibling].red = false;
                self.nodes[parent].red = true;
                self.rotate(parent, side);
                sibling = self.nodes[parent].children[1 - side];
            }
            let (near, far) = (self.nodes[sibling].children[side], self.nodes[sibling].children[1 - side]);
            if !self.is_red(near) && !self.is_red(far) {
                self.nodes[sibling].red = true;
                if self.nodes[parent].red || self.nodes[parent].parent == NONE {
                    self.nodes[parent].red = false;
                    return;
                }
                (node, parent) = (parent, self.nodes[parent].parent);
                continue;
            }
            let (top, outer) = if self.is_red(far) {
                (sibling, far)
            } else {
                self.rotate(sibling, 1 - side);
                (near, sibling)
            };
            self.nodes[top].red = self.nodes[parent].red;
            self.nodes[parent].red = false;
            self.nodes[outer].red = false;
            return self.rotate(parent, side);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NONE, Search, UnstableTree};
    use crate::units::MmId;

    fn key(at: u64) -> (MmId, u64) {
        (MmId(1), at)
    }

    fn insert(tree: &mut UnstableTree, at: u64) -> Search {
        tree.search_insert(key(at), |(_, other)| Some(at.cmp(&other)))
    }

    /// Black nodes on each way down; the keys in order.
    fn check(tree: &UnstableTree, node: usize, keys: &mut Vec<u64>) -> u32 {
        if node == NONE {
            return 1;
        }
        let [left, right] = tree.nodes[node].children;
        assert!(!(tree.is_red(node) && (tree.is_red(left) || tree.is_red(right))), "red below red");
        let before = check(tree, left, keys);
        keys.push(tree.nodes[node].key.1);
        assert_eq!(before, check(tree, right, keys), "as many black nodes on each side");
        before + u32::from(!tree.nodes[node].red)
    }

    #[test]
    fn it_stays_balanced_and_in_order() {
        let mut tree = UnstableTree::new();
        let mut known: Vec<u64> = Vec::new();
        let mut random = 7u64;
        for step in 0..2000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 40) % 97;
            if step % 3 == 2 {
                tree.remove(key(at));
                known.retain(|other| *other != at);
            } else {
                let found = known.contains(&at);
                let expected = if found { Search::Found(key(at)) } else { Search::Inserted };
                assert_eq!(insert(&mut tree, at), expected);
                if !found {
                    known.push(at);
                }
            }
            let mut keys = Vec::new();
            check(&tree, tree.root, &mut keys);
            known.sort_unstable();
            assert_eq!(keys, known);
            assert!(!tree.is_red(tree.root));
        }
    }

    #[test]
    fn an_address_that_cannot_be_compared_ends_the_search() {
        let mut tree = UnstableTree::new();
        for at in [5, 9, 1] {
            assert_eq!(insert(&mut tree, at), Search::Inserted);
        }
        let gone = |at: u64| move |(_, other): (MmId, u64)| (other != 9).then_some(at.cmp(&other));
        assert_eq!(tree.search_insert(key(7), gone(7)), Search::Blocked);
        assert_eq!(tree.search_insert(key(3), gone(3)), Search::Inserted);
        assert_eq!(tree.search_insert(key(4), |_| None), Search::Blocked);
    }
}
