import { bytes, encodeMessage, float, integer, message, text } from './protobuf.ts';
import type { Field, FieldValue } from './protobuf.ts';

/** Messages of an ONNX file. Source of the field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto */
export type ElementType = 'f32' | 'u8' | 'i32' | 'i64';

const ELEMENT_CODES: Readonly<Record<ElementType, number>> = { f32: 1, u8: 2, i32: 6, i64: 7 };

const IR_VERSION = 10;
const EXTERNAL = 1;
const ATTRIBUTE_FLOAT = 1;
const ATTRIBUTE_INT = 2;

/** Operators of ONNX Runtime's own, such as GroupQueryAttention. */
export const MICROSOFT = 'com.microsoft';
const OPSETS: Readonly<Record<string, number>> = { '': 21, [MICROSOFT]: 1 };

export interface OnnxNode {
  readonly operator: string;
  /** '' for ONNX's own. */
  readonly domain: string;
  /** An empty name leaves an optional input out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, AttributeValue>>;
}

export type AttributeValue = { readonly float: number } | { readonly int: number };

/** A constant: in the file itself, or at a place in the file of weights beside it. */
export interface OnnxTensor {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly data: Uint8Array | { readonly file: string; readonly offset: number; readonly sizeBytes: number };
}

export interface OnnxValue {
  readonly name: string;
  readonly type: ElementType;
  /** Names for sizes that change from call to call. */
  readonly shape: readonly (number | string)[];
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly tensors: readonly OnnxTensor[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

/** A whole .onnx file. */
export function encodeModel({ nodes, tensors, inputs, outputs }: OnnxGraph): Uint8Array<ArrayBuffer> {
  const graph: Field[] = [
    ...nodes.map((node): Field => [1, encodeNode(node)]),
    [2, text('decoder')],
    ...tensors.map((tensor): Field => [5, encodeTensor(tensor)]),
    ...inputs.map((input): Field => [11, encodeValue(input)]),
    ...outputs.map((output): Field => [12, encodeValue(output)]),
  ];
  return encodeMessage([
    [1, integer(IR_VERSION)],
    [2, text('skein bench')],
    [7, message(graph)],
    ...Object.entries(OPSETS).map(([domain, version]): Field => [
      8,
      message([
        [1, text(domain)],
        [2, integer(version)],
      ]),
    ]),
  ]);
}

function encodeNode({ operator, domain, inputs, outputs, attributes }: OnnxNode): FieldValue {
  return message([
    ...inputs.map((input): Field => [1, text(input)]),
    ...outputs.map((output): Field => [2, text(output)]),
    [3, text(outputs[0] ?? '')],
    [4, text(operator)],
    ...Object.entries(attributes).map(([name, value]): Field => [5, encodeAttribute(name, value)]),
    [7, text(domain)],
  ]);
}

function encodeAttribute(name: string, value: AttributeValue): FieldValue {
  return message(
    'float' in value
      ? [
          [1, text(name)],
          [2, float(value.float)],
          [20, integer(ATTRIBUTE_FLOAT)],
        ]
      : [
          [1, text(name)],
          [3, integer(value.int)],
          [20, integer(ATTRIBUTE_INT)],
        ],
  );
}

function encodeTensor({ name, type, shape, data }: OnnxTensor): FieldValue {
  const entry = (key: string, value: string | number): Field => [
    13,
    message([
      [1, text(key)],
      [2, text(String(value))],
    ]),
  ];
  const head: Field[] = [
    ...shape.map((size): Field => [1, integer(size)]),
    [2, integer(ELEMENT_CODES[type])],
    [8, text(name)],
  ];
  return data instanceof Uint8Array
    ? message([...head, [9, bytes(data)]])
    : message([
        ...head,
        entry('location', data.file),
        entry('offset', data.offset),
        entry('length', data.sizeBytes),
        [14, integer(EXTERNAL)],
      ]);
}

function encodeValue({ name, type, shape }: OnnxValue): FieldValue {
  const dimensions = shape.map((size): Field => [
    1,
    message([typeof size === 'number' ? [1, integer(size)] : [2, text(size)]]),
  ]);
  const tensorType: FieldValue = message([
    [1, integer(ELEMENT_CODES[type])],
    [2, message(dimensions)],
  ]);
  return message([
    [1, text(name)],
    [2, message([[1, tensorType]])],
  ]);
}
