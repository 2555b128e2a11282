import assert from 'node:assert/strict';
import { test } from 'node:test';
import { timestampsIn } from './timestamps.mjs';

const time = '.google.protobuf.Timestamp';

test('timestamps of requests are found with the fields that lead to them: of messages, lists and oneofs', () => {
  const found = timestampsIn({
    file: [
      {
        package: 'a.v1',
        messageType: [
          {
            name: 'DoRequest',
            field: [
              { name: 'title', jsonName: 'title', type: 'TYPE_STRING' },
              { name: 'due_time', jsonName: 'dueTime', typeName: time },
              { name: 'parts', jsonName: 'parts', typeName: '.a.v1.DoRequest.Part' },
              { name: 'late', jsonName: 'late', typeName: time, oneofIndex: 1, proto3Optional: true },
              { name: 'tags', jsonName: 'tags', typeName: '.a.v1.DoRequest.TagsEntry' },
            ],
            oneofDecl: [{ name: 'unused' }, { name: '_late' }],
            nestedType: [
              {
                name: 'Part',
                field: [{ name: 'at', jsonName: 'at', typeName: time, oneofIndex: 0 }],
                oneofDecl: [{ name: 'when_done' }],
              },
              {
                name: 'TagsEntry',
                field: [{ name: 'value', jsonName: 'value', typeName: time }],
                options: { mapEntry: true },
              },
            ],
          },
          { name: 'OtherRequest', field: [{ name: 'name', jsonName: 'name', type: 'TYPE_STRING' }] },
        ],
        service: [
          {
            name: 'S',
            method: [
              { name: 'Do', inputType: '.a.v1.DoRequest' },
              { name: 'Other', inputType: '.a.v1.OtherRequest' },
            ],
          },
        ],
      },
    ],
  });
  assert.deepEqual(found, {
    '/a.v1.S/Do': [
      [{ name: 'due_time', member: 'dueTime' }],
      [
        { name: 'parts', member: 'parts' },
        { name: 'at', member: 'at', oneof: 'whenDone' },
      ],
      [{ name: 'late', member: 'late' }],
    ],
  });
});
