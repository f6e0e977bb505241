/* Intrusive doubly linked lists; a node is in at most one list. An unlinked node has next == NULL. */
#ifndef PGUNISON_BASE_LIST_H
#define PGUNISON_BASE_LIST_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *next, *prev;
};
struct list {
    struct list_node head;
    size_t count;
};

#define list_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))
/* The body may unlink `it` itself, and nothing else. */
#define list_foreach(l, it, next_)                                                                           \
    for (struct list_node *it = (l)->head.next, *next_ = it->next; it != &(l)->head;                         \
         it = next_, next_ = it->next)

static inline void list_init(struct list *l)
{
    l->head.next = l->head.prev = &l->head;
    l->count = 0;
}
static inline bool list_empty(const struct list *l)
{
    return l->count == 0;
}
static inline bool list_linked(const struct list_node *n)
{
    return n->next != NULL;
}
static inline void list_insert_after(struct list *l, struct list_node *at, struct list_node *n)
{
    n->prev = at;
    n->next = at->next;
    at->next->prev = n;
    at->next = n;
    l->count++;
}
static inline void list_push_back(struct list *l, struct list_node *n)
{
    list_insert_after(l, l->head.prev, n);
}
static inline void list_push_front(struct list *l, struct list_node *n)
{
    list_insert_after(l, &l->head, n);
}
static inline void list_remove(struct list *l, struct list_node *n)
{
    assert(list_linked(n) && l->count > 0);
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->next = n->prev = NULL;
    l->count--;
}
static inline struct list_node *list_first(const struct list *l)
{
    return l->count ? l->head.next : NULL;
}
static inline struct list_node *list_last(const struct list *l)
{
    return l->count ? l->head.prev : NULL;
}
static inline struct list_node *list_pop_front(struct list *l)
{
    struct list_node *n = list_first(l);
    if (n) {
        l->head.next = n->next;
        n->next->prev = &l->head;
        n->next = n->prev = NULL;
        l->count--;
    }
    return n;
}
static inline struct list_node *list_pop_back(struct list *l)
{
    struct list_node *n = list_last(l);
    if (n) {
        l->head.prev = n->prev;
        n->prev->next = &l->head;
        n->next = n->prev = NULL;
        l->count--;
    }
    return n;
}
/* Moves every node of `from` to the end of `to`, in order. */
static inline void list_move_all(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->head.next->prev = to->head.prev;
    to->head.prev->next = from->head.next;
    from->head.prev->next = &to->head;
    to->head.prev = from->head.prev;
    to->count += from->count;
    list_init(from);
}

#endif
