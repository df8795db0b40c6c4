/* What every chunk of an idle connection passes through, in C. See fast.py: the same in Python, which is the reference.

   Whatever is rare is not done here but left to the reference, `Splitter.follow`: the first close frame, lengths from
   2^62 on, anything that is not as it should be. So each chunk is first looked through to its end, and only then is
   what was found written down; a chunk that is left to the reference has changed nothing.
   Limited API: one build serves all of CPython from 3.11 on. */

#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <structmember.h>

#define OPCODES 16
#define CLOSE 8
#define FIN 0x80
#define MASKED 0x80
#define LENGTH_MAX ((uint64_t)1 << 62) /* so that no sum of two can overflow */

/* The state of a Splitter (frames.py). Numbers that may exceed 64 bits are objects. */
typedef struct {
    PyObject_HEAD
    unsigned long long bytes;
    PyObject *frames;
    unsigned char first;
    PyObject *need;
    PyObject *head;
    Py_ssize_t gone;
    char open;
    PyObject *closing;
    PyObject *close_lacks;
} State;

static PyMemberDef state_members[] = {
    {"bytes", T_ULONGLONG, offsetof(State, bytes), 0, NULL},
    {"frames", T_OBJECT_EX, offsetof(State, frames), 0, NULL},
    {"first", T_UBYTE, offsetof(State, first), 0, NULL},
    {"need", T_OBJECT_EX, offsetof(State, need), 0, NULL},
    {"head", T_OBJECT_EX, offsetof(State, head), 0, NULL},
    {"gone", T_PYSSIZET, offsetof(State, gone), 0, NULL},
    {"open", T_BOOL, offsetof(State, open), 0, NULL},
    {"closing", T_OBJECT_EX, offsetof(State, closing), 0, NULL},
    {"_close_lacks", T_OBJECT_EX, offsetof(State, close_lacks), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static int state_traverse(State *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->frames);
    Py_VISIT(self->need);
    Py_VISIT(self->head);
    Py_VISIT(self->closing);
    Py_VISIT(self->close_lacks);
    return 0;
}

static int state_clear(State *self)
{
    Py_CLEAR(self->frames);
    Py_CLEAR(self->need);
    Py_CLEAR(self->head);
    Py_CLEAR(self->closing);
    Py_CLEAR(self->close_lacks);
    return 0;
}

static void free_object(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static void state_dealloc(State *self)
{
    PyObject_GC_UnTrack(self);
    state_clear(self);
    free_object((PyObject *)self);
}

static void replace(PyObject **where, PyObject *with)
{
    PyObject *old = *where;
    *where = with;
    Py_XDECREF(old);
}

/* Read a non-negative integer below LENGTH_MAX; 0 where it is none. */
static int read_number(PyObject *object, uint64_t *number)
{
    if (!object || !PyLong_CheckExact(object))
        return 0;
    *number = PyLong_AsUnsignedLongLong(object);
    if (*number == (unsigned long long)-1 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return *number < LENGTH_MAX;
}

/* Write down the frames that were found, of each opcode. */
static int add_counts(PyObject *frames, const uint64_t *counts)
{
    for (Py_ssize_t opcode = 0; opcode < OPCODES; opcode++) {
        if (!counts[opcode])
            continue;
        uint64_t before;
        if (!read_number(PyList_GetItem(frames, opcode), &before)) {
            PyErr_SetString(PyExc_TypeError, "frames must be 16 counts");
            return 0;
        }
        PyObject *after = PyLong_FromUnsignedLongLong(before + counts[opcode]);
        if (!after || PyList_SetItem(frames, opcode, after) < 0)
            return 0;
    }
    return 1;
}

/* Follow a chunk from `at` on; `data` is `chunk` behind the head that was kept before. NULL without an error: this is
   for the reference. */
static PyObject *follow_heads(State *self, PyObject *chunk, PyObject *data, uint64_t at)
{
    const unsigned char *raw = (const unsigned char *)PyBytes_AsString(data);
    const uint64_t size = PyBytes_Size(data);
    uint64_t counts[OPCODES] = {0};
    unsigned char first = 0;
    char open = self->open;
    const int has_closed = PyBytes_Size(self->closing) > 0;
    while (at + 1 < size) {
        const unsigned char *head = raw + at;
        first = head[0];
        uint64_t length = head[1] & 0x7F;
        uint64_t payload = at + (head[1] & MASKED ? 6 : 2);
        if (length == 126) {
            if (at + 4 > size)
                break;
            length = (uint64_t)head[2] << 8 | head[3];
            payload += 2;
        } else if (length == 127) {
            if (at + 10 > size)
                break;
            length = 0;
            for (int byte = 2; byte < 10; byte++)
                length = length << 8 | head[byte];
            payload += 8;
            if (length >= LENGTH_MAX)
                return NULL;
        }
        if (!(first & 0x08))
            open = first < FIN;
        else if ((first & 0x0F) == CLOSE && !has_closed)
            return NULL;
        counts[first & 0x0F]++;
        at = payload + length;
    }
    const uint64_t lacks = at > size ? at - size : 0;
    const uint64_t left = at < size ? size - at : 0;
    PyObject *need = PyLong_FromUnsignedLongLong(lacks);
    PyObject *head = PyBytes_FromStringAndSize((const char *)raw + size - left, left);
    if (!need || !head || !add_counts(self->frames, counts)) {
        Py_XDECREF(need);
        Py_XDECREF(head);
        return NULL;
    }
    replace(&self->need, need);
    replace(&self->head, head);
    self->gone = left;
    self->bytes += PyBytes_Size(chunk);
    self->open = open;
    if (lacks)
        self->first = first;
    return Py_NewRef(Py_None);
}

static PyObject *state_scan(State *self, PyObject *chunk)
{
    uint64_t need, lacks;
    PyObject *done = NULL;
    if (PyBytes_CheckExact(chunk) && self->head && PyBytes_CheckExact(self->head) && self->closing &&
        PyBytes_CheckExact(self->closing) && self->frames && PyList_CheckExact(self->frames) &&
        PyList_Size(self->frames) == OPCODES && read_number(self->need, &need) &&
        read_number(self->close_lacks, &lacks) && !lacks) {
        const uint64_t size = PyBytes_Size(chunk);
        if (need >= size) {
            PyObject *left = PyLong_FromUnsignedLongLong(need - size);
            if (!left)
                return NULL;
            replace(&self->need, left);
            self->bytes += size;
            return Py_NewRef(Py_None);
        }
        if (!need && PyBytes_Size(self->head)) {
            PyObject *data = PySequence_Concat(self->head, chunk);
            if (!data)
                return NULL;
            done = follow_heads(self, chunk, data, 0);
            Py_DECREF(data);
        } else {
            done = follow_heads(self, chunk, chunk, need);
        }
    }
    if (done || PyErr_Occurred())
        return done;
    return PyObject_CallMethod((PyObject *)self, "follow", "(O)", chunk);
}

static PyMethodDef state_methods[] = {
    {"scan", (PyCFunction)state_scan, METH_O, "Follow a chunk that is forwarded whole."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot state_slots[] = {
    {Py_tp_doc, "What a splitter remembers between two chunks."},
    {Py_tp_members, state_members},
    {Py_tp_methods, state_methods},
    {Py_tp_traverse, state_traverse},
    {Py_tp_clear, state_clear},
    {Py_tp_dealloc, state_dealloc},
    {0, NULL},
};

static PyType_Spec state_spec = {
    .name = "chaosproxy.wire.speedups.State",
    .basicsize = sizeof(State),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = state_slots,
};

/* The beginning of a protocol: takes a chunk to where it is counted, and on to where it is written. */
typedef struct {
    PyObject_HEAD
    PyObject *scan;
    PyObject *write;
} Lane;

static PyMemberDef lane_members[] = {
    {"scan", T_OBJECT, offsetof(Lane, scan), 0, NULL},
    {"write", T_OBJECT, offsetof(Lane, write), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static int lane_traverse(Lane *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->scan);
    Py_VISIT(self->write);
    return 0;
}

static int lane_clear(Lane *self)
{
    Py_CLEAR(self->scan);
    Py_CLEAR(self->write);
    return 0;
}

static void lane_dealloc(Lane *self)
{
    PyObject_GC_UnTrack(self);
    lane_clear(self);
    free_object((PyObject *)self);
}

/* Call with one argument; what is called may be replaced meanwhile. The result is of no interest. */
static int call(PyObject *function, PyObject *data)
{
    Py_INCREF(function);
    PyObject *result = PyObject_CallFunctionObjArgs(function, data, NULL);
    Py_DECREF(function);
    Py_XDECREF(result);
    return result != NULL;
}

static PyObject *lane_data_received(Lane *self, PyObject *data)
{
    if (!self->scan || self->scan == Py_None)
        return PyObject_CallMethod((PyObject *)self, "receive", "(O)", data);
    if (!call(self->scan, data) || !call(self->write ? self->write : Py_None, data))
        return NULL;
    return Py_NewRef(Py_None);
}

static PyMethodDef lane_methods[] = {
    {"data_received", (PyCFunction)lane_data_received, METH_O, "Pass a chunk on, or have it received."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lane_slots[] = {
    {Py_tp_doc, "Where chunks come in that may only be counted and passed on."},
    {Py_tp_members, lane_members},
    {Py_tp_methods, lane_methods},
    {Py_tp_traverse, lane_traverse},
    {Py_tp_clear, lane_clear},
    {Py_tp_dealloc, lane_dealloc},
    {0, NULL},
};

static PyType_Spec lane_spec = {
    .name = "chaosproxy.wire.speedups.Lane",
    .basicsize = sizeof(Lane),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = lane_slots,
};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int status = type ? PyModule_AddObjectRef(module, name, type) : -1;
    Py_XDECREF(type);
    return status;
}

static int execute(PyObject *module)
{
    return add_type(module, "State", &state_spec) < 0 ? -1 : add_type(module, "Lane", &lane_spec);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "chaosproxy.wire.speedups", "The pass lane in C.", 0, NULL, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_speedups(void) { return PyModuleDef_Init(&definition); }
